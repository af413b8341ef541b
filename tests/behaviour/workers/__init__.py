"""Several workers, from outside."""
