"""Tests of the dashboards, and of a running Grafana where there is one."""
