"""The web UI: sends purchases, shows live metrics, logs and traces, and explains each request."""
