"""Tests of the library ``three_pillars`` in ``telemetry/``."""
