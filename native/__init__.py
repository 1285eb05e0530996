"""The build recipes of the Collector, Prometheus and Alertmanager, and their build script."""
