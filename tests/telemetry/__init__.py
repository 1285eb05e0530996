"""The way out: batches that are kept, and what is lost counted."""
