"""The embedded venues: servers that speak the real protocols, so that paper runs the same code as live."""
