"""One query's way: hit, stale, miss, and what its result brings."""
