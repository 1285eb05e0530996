"""Tests of the script native/build.py and of the build recipes."""
