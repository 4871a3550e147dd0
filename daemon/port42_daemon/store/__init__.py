"""Sessions on the disk: files, the mapping of last sessions, the index, recovery."""
