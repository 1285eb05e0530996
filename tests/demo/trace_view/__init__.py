"""Tests for the view of one trace."""
