"""What PgBeam says about statements, held against PostgreSQL."""
