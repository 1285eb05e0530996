"""The query interface: one set of queries (``interface``), with two implementations.

``local`` reads the local store's file; ``lgtm`` queries Tempo, Loki and Prometheus. ``connect``
chooses the one that fits the running stack.
"""
