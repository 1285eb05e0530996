"""Rehearsals: fault injection under a steady load, followed by an audit of all telemetry."""
