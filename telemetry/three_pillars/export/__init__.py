"""OTLP export: batching, text sanitizing, retries until shutdown, and counts of what was lost."""
