"""What `doctor` finds in the home, and repairs."""
