"""The stand-in server as its users meet it: a process of its own, and the official libraries as they are.

No test here imports the server's code. A number such as P21 in a docstring names a behaviour of the protocol.
"""
