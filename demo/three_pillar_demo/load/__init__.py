"""The customers: one purchase, or a steady stream of them."""
