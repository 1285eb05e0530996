"""The demo services: checkout, payment, and the code that both share."""
