"""Tests of the local store, with real SQLite files, in this process or in one of its own."""
