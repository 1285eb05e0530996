"""How the stack runs: what its components are, and their start, watch and stop."""
