"""The rules of turns: the queue of a session, one turn from question to reply, recovery."""
