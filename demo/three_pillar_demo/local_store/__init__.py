"""The local store: one small process that receives OTLP over HTTP and writes it to a SQLite file.

In the demo's mode ``local``, this process takes the place of the OpenTelemetry Collector, Tempo,
Loki and Prometheus, so that the demo needs only Python. The store holds a few million rows on one
machine and has no query language. For more, run the real backends (mode ``full``) with the same
services and commands.
"""
