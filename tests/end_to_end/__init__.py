"""Tests on the real Collector, Tempo, Loki and Prometheus."""
