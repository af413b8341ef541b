"""Every way to run user code, with everything it may leave behind: who it belongs to keeps it, nobody else sees it."""
