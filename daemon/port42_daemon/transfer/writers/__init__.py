"""A session as text: JSON, Markdown or an HTML page, with its secrets redacted when asked for."""
