"""Status, doctor, and checks of the daemon's environment."""
