"""One module a command: what it does, as a function that returns a value."""
