"""Conversations that are mutated, on the client's side and on the server's. `make fuzz` keeps at it for longer.

What must hold, whatever comes: an honest client beside it gets its own replies and no others, nothing raises, and when
the liars have left nothing of them is left. A case is told by its number: FUZZ_SEED=number runs that one first.
"""
