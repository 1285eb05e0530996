"""The alert inbox of the web UI: firing alerts, and the running drill with a form for answers."""
