"""The HTTP API, by which server libraries publish and ask."""
