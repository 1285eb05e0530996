"""Benchmark of the request path: one app with this telemetry, without, and with others'."""
