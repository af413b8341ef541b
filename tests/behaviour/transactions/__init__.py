"""Transactions: what reaches a server, when, and what a client is told."""
