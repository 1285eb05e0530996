"""The build recipes of Collector, Prometheus and Alertmanager, and the script that builds them."""
