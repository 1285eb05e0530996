"""Rehearsals: break one thing under a steady load, then check that no telemetry is lost.

A rehearsal is an automatic check, and ends with a comparison of all telemetry with what was sent.
It is not a drill (the package ``drills``), which is an incident in which a person looks for the
cause.
"""
