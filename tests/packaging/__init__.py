"""Tests of the built packages, installed without a checkout."""
