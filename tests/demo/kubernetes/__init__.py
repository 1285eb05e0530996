"""Tests of three_pillar_demo.kubernetes."""
