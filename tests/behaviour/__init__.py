"""PgBeam between real drivers and real PostgreSQL servers."""
