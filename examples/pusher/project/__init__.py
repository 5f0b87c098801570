"""The example with Pusher's own libraries."""
