"""What answers: one small interface, and a module for each kind of back end behind it."""
