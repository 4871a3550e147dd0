"""A session as text that leaves the house: JSON, Markdown, an HTML page, with its secrets redacted."""
