"""The operators' chat: commands that are heard by long poll, and pushes of what happened. Nothing waits for it."""
