"""What telemetry costs a service: the same app bare, with ours, and with what others give, under the same load."""
