"""Tests of ``demo run``."""
