"""From bytes on the socket to a typed request and back: server, connection, dispatch, metrics."""
