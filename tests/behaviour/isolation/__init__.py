"""Isolation: what one client sets, opens and leaves is not there for another, and each gets its own reply."""
