"""Tasks in consumers: the runner, its consumers and their messages."""
