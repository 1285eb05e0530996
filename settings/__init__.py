"""Settings come from the environment: a value is obeyed, or refused in one line when the process starts; empty is unset."""
