"""Requests of PgBeam's own: what runs on a server without a client that waits for it."""
