"""What customers' hosts do while a story happens: they ping, and they talk over TCP."""
