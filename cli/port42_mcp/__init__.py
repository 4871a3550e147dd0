"""Port42 for agents: an MCP server on stdin and stdout, and the configuration of its clients."""
