"""`index.db`: lists, searches, keys and statistics across sessions, derived from their files."""
