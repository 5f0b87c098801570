"""A server of the Pusher protocol: unchanged clients connect to it, unchanged server libraries publish through it."""
