"""Managing the site: users, tokens, jobs, the trail of what was written, the state of the database."""
