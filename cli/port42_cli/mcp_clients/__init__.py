"""The configuration of MCP clients: where each keeps its servers, and what has to stand there for Port42."""
