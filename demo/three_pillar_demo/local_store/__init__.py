"""A local OTLP store: one small process that receives OTLP and writes it to one SQLite file.

It takes the place of the Collector, Tempo, Loki and Prometheus for people who have Python alone.
It keeps a few million rows on one machine; it is not a cluster and has no query language. For
more, run the real backends with the same services and the same commands.
"""
