"""The console of a running PgBeam, beside a real PgBouncer's."""
