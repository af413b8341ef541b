"""What real drivers do out of habit, direct and through PgBeam."""
