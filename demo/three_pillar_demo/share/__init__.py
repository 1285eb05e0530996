"""Sharing a request: files that ``demo follow`` writes, and what ``demo import`` reads."""
