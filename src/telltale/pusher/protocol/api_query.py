"""The query of a request to the HTTP API, as its client may have signed it.

A signature covers decoded values, and clients differ in their encoding: some send a space as `+`, some as `%20`, some
send values as they are. So a query has up to two readings, and the one with the right signature counts.
"""

from collections.abc import Iterator
from typing import Final
from urllib.parse import unquote_to_bytes

from telltale.pusher.protocol.api_refusal import ApiRefusal, shown

MAX_PARAMETERS: Final = 64

Parameters = dict[str, str]
"""Values by name, in lower case."""


def readings(query: bytes) -> Iterator[Parameters]:
    """Yield the readings of a query; raises `ApiRefusal` for one that is ambiguous or not UTF-8."""
    yield _parameters(query)
    if b"+" in query:
        yield _parameters(query.replace(b"+", b" "))


def _parameters(query: bytes) -> Parameters:
    parameters: Parameters = {}
    if query.count(b"&") >= MAX_PARAMETERS:
        raise ApiRefusal(400, f"The query has more than {MAX_PARAMETERS} parameters.")
    for pair in filter(None, query.split(b"&")):
        raw_name, _, raw_value = pair.partition(b"=")
        name = _decoded(raw_name).lower()
        # Two values would let a request mean something else than what was signed.
        if name in parameters:
            raise ApiRefusal(400, f"The query has the parameter {shown(name)} twice: send it once.")
        if name.endswith("[]"):
            raise ApiRefusal(400, f"The query has the array {shown(name)}: join its values by commas.")
        parameters[name] = _decoded(raw_value)
    return parameters


def _decoded(text: bytes) -> str:
    try:
        return unquote_to_bytes(text).decode()
    except UnicodeDecodeError as error:
        raise ApiRefusal(400, "The query is not UTF-8: encode its parameters as percent-encoded UTF-8.") from error
