"""Tests of unusual input: request bytes, settings, stdouts, clients and foreign applications."""
