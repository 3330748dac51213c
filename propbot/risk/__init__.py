"""The limits: what may be opened at all. Pure; the only room that builds an `Approved`."""
