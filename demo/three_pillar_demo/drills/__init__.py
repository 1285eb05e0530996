"""Incident drills: break one thing, let a person find the cause, then restore everything.

The incidents are the TOML files in ``scenarios/``.
"""
