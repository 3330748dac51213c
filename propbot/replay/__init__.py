"""`propbot replay`: the whole service over recordings, in virtual time, and what came out of it."""
