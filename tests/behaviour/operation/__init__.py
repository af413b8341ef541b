"""Operation: PgBeam is started, told new settings, restarted, drained and watched over by the system."""
