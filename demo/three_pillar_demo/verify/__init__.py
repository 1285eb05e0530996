"""The proof: each purchase is found whole in all three pillars, or what is missing is named."""
