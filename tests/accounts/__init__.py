"""A small site in a process of its own, whose users have any kind of primary key: who asks, and how they sign in."""
