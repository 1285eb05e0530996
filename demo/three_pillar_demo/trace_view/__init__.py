"""The story of one request: gathered from the three pillars, explained, drawn."""
