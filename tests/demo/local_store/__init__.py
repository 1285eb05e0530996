"""The receiver and its file: real SQLite, the real app, and real processes where the promise is about them."""
