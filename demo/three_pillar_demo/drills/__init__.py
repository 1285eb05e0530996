"""Drills: break one thing, let a person find the cause, then restore everything.

A drill is an incident in which a person looks for the cause. It is not a rehearsal (the package
``chaos``), which is an automatic check that no telemetry is lost while something is broken. Each
drill is a TOML file in ``scenarios/``.
"""
