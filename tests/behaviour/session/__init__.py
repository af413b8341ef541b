"""Conversations with servers that a test plays, message by message and without sockets."""
