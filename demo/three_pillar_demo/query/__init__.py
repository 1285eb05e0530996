"""The queries that the demo makes of stored telemetry, and their two implementations.

The module ``interface`` defines the queries. ``local`` answers them from the local store's SQLite
file, ``lgtm`` from Tempo, Loki and Prometheus. ``connect`` chooses the implementation for the
running stack.
"""
