"""docker-compose.yaml, read as Compose resolves it and run on a real engine."""
