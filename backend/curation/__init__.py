"""What curators decide about passages: flags, lists of flagged passages, private sources."""
