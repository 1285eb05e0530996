"""The demo services: checkout, payment, and what they share."""
