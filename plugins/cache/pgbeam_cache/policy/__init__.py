"""What may be cached, for how long, and who may share it."""
