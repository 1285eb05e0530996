"""Tests of the local store: with real SQLite, the real application and, where needed, processes."""
