"""The live screens of a real PgBeam, in a real terminal."""
