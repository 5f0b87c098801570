"""The demo: a small site that imports the world's airports and shows the progress live. `make demo` serves it."""
