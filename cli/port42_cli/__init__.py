"""What a person types: `port42`, its commands, and how answers look."""
