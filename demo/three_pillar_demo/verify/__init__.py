"""Verification: find every purchase in traces, logs and metrics, and follow Grafana's links."""
