"""FollowMixin: a project's own consumers follow topics."""
