"""Tests on a whole stack: the embedded one, or with STACK=full the real Collector, Tempo, Loki and Prometheus."""
