"""Requests to the tests' own servers, without TLS."""

import ssl
from typing import Final

WITHOUT_TLS: Final = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""httpx's `verify`. By default, each request outside of a client, and each client, reads all certificate authorities.

That takes 20 ms of CPU, and tests ask a server that starts twenty times a second.
"""
