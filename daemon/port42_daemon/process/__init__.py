"""The daemon as a process: its home's lock, its listening socket, what systemd is told."""
