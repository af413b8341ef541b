"""The cache as people see it: tables, a panel, commands, session variables."""
