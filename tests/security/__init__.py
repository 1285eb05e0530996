"""Attacks: leaking secrets, forged trace context and log lines, growing stores, hanging workers."""
