"""Sessions on the disk: documents, the mapping, the index, recovery."""
