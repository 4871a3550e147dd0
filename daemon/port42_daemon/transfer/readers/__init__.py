"""Sessions of other programs, and of our own, as they come in: found, read, judged piece by piece."""
