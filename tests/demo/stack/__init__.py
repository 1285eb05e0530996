"""Tests of the stack launcher."""
