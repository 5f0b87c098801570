"""The broker `channels://`: carries Telltale's updates over a channel layer."""
