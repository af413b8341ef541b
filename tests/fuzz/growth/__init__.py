"""Texts that grow, and what they cost."""
