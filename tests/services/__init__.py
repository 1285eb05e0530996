"""Tests of the checkout and payment services in ``services/``."""
