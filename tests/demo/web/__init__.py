"""Tests for the web UI."""
