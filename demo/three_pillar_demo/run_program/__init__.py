"""The command ``demo run``: runs a program of the user so that it sends telemetry to the demo."""
