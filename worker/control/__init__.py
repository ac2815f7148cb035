"""Remote control: the commands that a worker answers."""
