"""The Collector and the three backends in one small process: OTLP in, one SQLite file out.

What it is not: a cluster, a query language, a product. It keeps a few million rows on one machine for people who have
Python alone. Who outgrows it runs Tempo, Loki and Prometheus, with the same services and the same commands.
"""
