"""Tests of the configuration files: Collector, Prometheus, alerts, compose."""
