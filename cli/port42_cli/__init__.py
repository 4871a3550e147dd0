"""The command line: `port42`, its commands, and their output."""
