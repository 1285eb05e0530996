"""The local store: one small process that receives OTLP over HTTP and writes it to a SQLite file.

In the mode ``local``, it takes the place of the Collector, Tempo, Loki and Prometheus, so that the
demo needs only Python. It holds a few million rows on one machine and has no query language. For
more, run the real backends (mode ``full``) with the same services and commands.
"""
