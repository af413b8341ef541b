"""What servers tell of themselves: definitions, rights, who they take clients for, their default isolation level."""
