"""The hands outside the house: starts it, buys, looks, proves. Speaks HTTP only and imports no service."""
