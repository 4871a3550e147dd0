"""Checks and repairs of the home, for `doctor`."""
