"""Incident drills: one thing is broken, a person finds out what, and all is put back. The incidents are ``drills/*.toml``."""
