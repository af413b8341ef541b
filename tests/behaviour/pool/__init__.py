"""Shared and pooled servers, played: who waits for whom, and that nobody gets another's reply."""
