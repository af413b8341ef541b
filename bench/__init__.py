"""PgBeam beside a direct connection, PgBouncer and pgpool-II, on one machine in one run: `python -m bench`."""
