"""Model servers over HTTP: OpenAI Chat Completions and Anthropic Messages."""
