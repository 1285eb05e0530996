"""Tests of the query interface and its implementations."""
