"""Readers of session files, Port42's own and those of other programs."""
