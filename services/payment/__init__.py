"""The simulated payment service."""
