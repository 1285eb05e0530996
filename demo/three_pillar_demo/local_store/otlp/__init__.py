"""Decoders of OTLP export requests (opentelemetry-proto 1.x): one module for each signal.

The ``decode`` function of each module adds the valid records of a request to a ``batch.Batch``, and
counts the rejected records of the request, by reason, in ``Batch.rejected``. Metrics get the names
and labels that Prometheus' own OTLP receiver would give them.
"""
