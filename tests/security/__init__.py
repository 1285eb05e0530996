"""Attacks: leaked secrets, forged trace context and log lines, full stores, blocked workers."""
