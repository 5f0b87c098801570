"""The stand-in server as its users meet it: a process of its own, and the official libraries as they are.

Tests reach the server by its addresses alone. A number such as P21 in a docstring names a behaviour of the protocol.
"""
