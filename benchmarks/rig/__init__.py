"""The test rig: starts one server on one core and drives it with a load generator on the other.

It knows no particular server: `contender.py` is the contract that servers under test fulfil.
"""
