"""The daemon: one process a user that keeps every agent's sessions."""
