"""Modes, their persistence, and what operators may change; used by the API (and later Telegram) alike."""
