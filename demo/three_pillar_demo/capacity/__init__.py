"""How much each part of the system needs at a rate of checkouts: ``demo capacity``."""
