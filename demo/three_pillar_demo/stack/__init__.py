"""The stack launcher, which starts, watches and stops the processes of the demo."""
