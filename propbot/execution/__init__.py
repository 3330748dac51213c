"""From an approved intent to a known outcome: gate, legs, hedges, bookkeeping, reconciliation."""
