"""Code that both services use: error responses, common settings, faults of drills, and startup."""
