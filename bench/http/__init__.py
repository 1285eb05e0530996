"""Benchmark of an HTTP app with this project's telemetry, with other telemetry, and without."""
