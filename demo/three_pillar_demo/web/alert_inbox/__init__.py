"""The alert inbox: alerts from Alertmanager, and the running drill with a form for its answer."""
