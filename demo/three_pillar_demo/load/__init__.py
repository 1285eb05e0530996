"""Load generation: one purchase, purchases started by hand, and traffic at a steady rate."""
