"""Promises of the house, one a test."""
