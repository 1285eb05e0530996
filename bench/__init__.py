"""Benchmarks: each one measures the demo and prints tables; none of them is a test."""
