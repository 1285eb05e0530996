"""The stack launcher: the list of components, and how they are started, watched and stopped."""
