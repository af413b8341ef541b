"""Limits, as drivers meet them."""
