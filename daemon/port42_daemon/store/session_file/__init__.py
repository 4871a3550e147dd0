"""One session as one file: its format, durable writes, the cache, salvage, forks."""
