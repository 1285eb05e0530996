"""Rehearsals: a steady load, one thing broken and restored, and the books compared afterwards."""
