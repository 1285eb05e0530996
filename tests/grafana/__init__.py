"""Tests of Grafana itself; skipped where there is none."""
