"""The venues' languages, bytes ⇄ domain. Pure: no sockets, no clock, no state. One folder a venue."""
