"""The dashboards as Python code; ``make dashboards`` writes the JSON that Grafana reads."""
