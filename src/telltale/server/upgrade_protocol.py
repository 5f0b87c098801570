"""A protocol class for uvicorn's `http=`, which hands sockets of registered addresses to protocols of their own.

uvicorn parses each handshake a second time, in a protocol for sockets; here the parsed one is handed over. All else is
uvicorn's, with the limits of `bounded_protocol.py`. `http_protocol.py` builds on it for the live address.
"""

from websockets.datastructures import Headers
from websockets.http11 import Request

from telltale.server import routes
from telltale.server.bounded_protocol import BoundedProtocol
from telltale.transports.http import LiveRequest


class UpgradeProtocol(BoundedProtocol):
    """uvicorn's protocol, except for handshakes for the addresses of `routes.py`."""

    def handle_websocket_upgrade(self) -> None:
        """Called by uvicorn's parser: the request asks for a WebSocket."""
        make_socket = self._find_socket()
        if make_socket is None:
            return super().handle_websocket_upgrade()
        if self.parser.get_method() != b"GET":
            return self.send_400_response("Ask for a WebSocket by GET.")
        self._stop_timer()
        self.connections.discard(self)
        socket = make_socket(self.server_state)
        socket.connection_made(self.transport)
        self.transport.set_protocol(socket)
        headers = Headers((name.decode("latin-1"), value.decode("latin-1")) for name, value in self.headers)
        handshake = Request(self.url.decode("latin-1"), headers)
        request = LiveRequest.from_headers(self.headers, is_secure=self.scheme == "https")
        socket.open(handshake, request, self.config)

    def _find_socket(self) -> routes.MakeSocket | None:
        return routes.find_socket(self._path, self.root_path)

    @property
    def _path(self) -> str:
        return self.url.partition(b"?")[0].decode("latin-1")
