"""JSON-RPC: server, connections, dispatch, metrics."""
