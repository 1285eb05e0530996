"""Programs that stand in for components and for Go, and the demo command that runs them."""
