"""What the field throws at it: odd bytes, odd settings, odd surroundings, odd apps."""
