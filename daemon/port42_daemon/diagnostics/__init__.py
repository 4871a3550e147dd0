"""What the daemon reports of itself: status, doctor, usage, its environment."""
