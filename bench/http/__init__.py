"""Benchmark of HTTP requests to the same app with this telemetry, with none, and with others."""
