"""What following costs in a Channels project: consumers with `FollowMixin`, and pages with the broker `channels://`."""
