"""OTLP export: batches, sanitized text, retries until shutdown, and counts of undelivered items."""
