"""Choosing a session on a whole screen: what there is, what fits what is typed, and the screen."""
