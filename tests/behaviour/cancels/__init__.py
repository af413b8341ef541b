"""Cancel requests with the keys that clients were given."""
