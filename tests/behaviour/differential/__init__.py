"""The same conversation direct and through PgBeam, compared byte for byte."""
