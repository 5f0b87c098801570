"""The Pusher Channels protocol, both ways: publishing through the hosted service, and standing in for it.

`publisher/` is the broker `pusher://…`, for a site whose pages listen to the hosted service or a compatible server.
`server/` is such a server itself: unchanged clients and server libraries connect to it. `protocol/` has the rules that
both need, without I/O. Guide: docs/pusher.md.
"""
