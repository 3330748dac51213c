"""The invariants of the checker, I1 to I24, apart from the bot: only the standard library and attrs."""
