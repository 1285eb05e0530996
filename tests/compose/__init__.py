"""Tests of docker-compose.yaml: as Compose resolves it, and running on a Docker engine."""
