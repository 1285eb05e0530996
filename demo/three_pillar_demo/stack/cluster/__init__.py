"""The components of the modes ``cluster``: several of each, as on several machines."""
