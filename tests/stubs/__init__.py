"""Stub programs: a component, Go, and the demo command that runs stub components."""
