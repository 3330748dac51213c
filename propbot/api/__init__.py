"""REST for operators and their tools: what the desk shows, and the one PATCH that changes anything."""
