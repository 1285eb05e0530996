"""What both services share: error responses, settings, and how a process starts."""
