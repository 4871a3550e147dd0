"""Commands, a module per group; each is imported only when it is typed.

Inside them, what only one way of printing needs is imported on that way: `render`, and with it rich, for
a terminal; the protocol's dataclasses where the daemon's JSON is not printed as it came.
"""
