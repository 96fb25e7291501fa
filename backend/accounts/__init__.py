"""Who may do what: users, roles, passwords, sessions, tokens, and the trail of what was written."""
