"""The cache: whatever is remembered, a client is told what the server would tell it."""
