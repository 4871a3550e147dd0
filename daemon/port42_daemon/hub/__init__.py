"""The hub: one PostgreSQL in which the sessions of many daemons meet."""
