"""What a stranger may try: to leak, to be believed, to make the stores grow, to forge lines, to hang a worker."""
