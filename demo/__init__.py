"""The demo: a small site that imports the world's airports while its visitors watch. `make demo` serves it."""
