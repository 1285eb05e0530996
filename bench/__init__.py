"""Benchmarks: each measures and prints tables; none of them is a test."""
