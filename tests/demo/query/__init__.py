"""Tests of whoever answers the questions."""
