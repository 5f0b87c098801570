"""Types of the arguments of `telltale`."""

from argparse import ArgumentTypeError


def positive(text: str) -> float:
    """Return the number in an argument; raises `ArgumentTypeError` unless it is greater than 0."""
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise ArgumentTypeError(f"{text!r} is not a number greater than 0.")
    return number
