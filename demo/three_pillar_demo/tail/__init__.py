"""The command ``demo tail``: requests and log records in the terminal, as they arrive."""
