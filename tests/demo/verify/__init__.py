"""Tests for ``demo verify``."""
