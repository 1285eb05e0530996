"""Tests of the incident drills."""
