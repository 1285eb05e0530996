"""The way out of a process: what its batches say, how long they are kept while nobody takes them, and what was lost."""
