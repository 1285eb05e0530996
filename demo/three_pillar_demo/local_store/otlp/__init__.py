"""Decoders of OTLP export requests (opentelemetry-proto 1.x): one module for each signal.

The ``decode`` function of each module adds the valid records of a request to a ``batch.Batch`` as
rows, and counts the rejected records there by reason. Metrics get the names and labels that
Prometheus' own OTLP receiver would give them.
"""
