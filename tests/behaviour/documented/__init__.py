"""What the documentation promises in words: differences from a direct connection, the guide's snippets."""
