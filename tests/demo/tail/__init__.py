"""Tests of the package three_pillar_demo.tail."""
