"""Turns at a terminal or through a pipe: said, shown, followed, interrupted."""
