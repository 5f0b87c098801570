"""What Telltale knows without Django, sockets or a clock: every rule, none of the effects."""
