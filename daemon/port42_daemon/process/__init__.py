"""The daemon as a process: its home's lock, its listening socket, notifications to systemd."""
