"""Tests on a running stack, either the local one or the real one, as its users see it."""
