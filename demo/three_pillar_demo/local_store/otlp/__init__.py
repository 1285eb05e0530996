"""Decoding of OTLP export requests (opentelemetry-proto 1.x) into rows, one module a signal.

Each ``decode`` adds the valid records of a request to a ``Batch`` and counts the others there, by
reason. Metrics get the names and labels that Prometheus' own OTLP receiver would give them.
"""
