"""The dashboards, written in Python; ``make dashboards`` turns them into the JSON that Grafana reads."""
