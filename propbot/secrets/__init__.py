"""Secrets that operators have stored: sealed on disk, and which one of each name is in force. It speaks to nobody."""
