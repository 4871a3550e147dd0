"""Commands, a module per group; each is imported only when it is typed."""
