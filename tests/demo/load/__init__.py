"""Tests for the load generation."""
