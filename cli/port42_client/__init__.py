"""A client of the daemon: connect, start it where need be, call its methods."""
