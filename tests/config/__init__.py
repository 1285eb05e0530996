"""Tests of the configuration files of Collector, Prometheus, Alertmanager, Grafana and Compose."""
