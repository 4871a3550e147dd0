"""Choosing a session on a whole screen."""
