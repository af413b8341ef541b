"""What PgBeam shows of itself: counters, log, and what holds its event loop."""
