"""Tests of the build script in native/."""
