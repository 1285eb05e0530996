"""Measurements, each printed as one table; nothing here is a test."""
