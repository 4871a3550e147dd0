"""What Port42 costs, as ratios to what the machine itself can do in the same run."""
