"""Back ends: the interface, and a module for each kind."""
