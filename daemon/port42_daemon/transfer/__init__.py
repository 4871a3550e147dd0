"""Sessions out of and into the store: export and import."""
