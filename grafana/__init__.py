"""The Grafana dashboards as Python code; ``make dashboards`` writes them as JSON."""
