"""Tests of `demo up --cluster`: several processes of each kind, and what a killed one costs."""
