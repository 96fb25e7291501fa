"""The catalogue as a dump that belongs to no database: written from one snapshot, read into an empty catalogue."""
