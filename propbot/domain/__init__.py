"""The vocabulary of the desk. Pure values and rules: no I/O, no clock of its own, no event loop."""
