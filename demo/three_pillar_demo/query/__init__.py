"""What was told, asked back: one closed list of questions (``questions``), two that answer (``lgtm``, ``embedded``)."""
