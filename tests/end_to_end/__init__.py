"""Tests on a running stack, the local one or the real one, as users see it."""
