"""Programs that are run once a turn: the message on stdin, the reply on stdout."""
