"""The clients of this process: their connections, subscriptions and users, and the fan-out of messages to them."""
