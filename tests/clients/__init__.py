"""Programs in other languages send to the local store and are read back; `make test-clients`."""
