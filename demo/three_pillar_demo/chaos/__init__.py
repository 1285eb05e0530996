"""Rehearsals: break one thing under a steady load, then check that no telemetry is lost.

A rehearsal is an automatic check: at its end, the stored telemetry is compared with the purchases
that were made. It is not a drill (the package ``drills``), which is an incident in which a
person looks for the cause.
"""
