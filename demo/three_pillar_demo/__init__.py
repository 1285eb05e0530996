"""The demo command and its parts: stack, local store, queries, web UI, load, checks, drills."""
