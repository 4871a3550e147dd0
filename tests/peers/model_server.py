"""A model server that behaves as a test says: real sockets, HTTP by the standard library, manners by us.

with ModelServer(refuses(500), chat("hello")) as server:   # the first request, then all others
    OpenAIBackend(base_url=server.url, model="m")
server.requests                                            # what came
server.asked.wait(5)                                       # a POST is there
server.hung_up.wait(5)                                     # a client let go of a stream
"""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

SLOW_PIECES, SLOW_FOR, WHOLE_AFTER = 5, 1.0, 60.0


@dataclass(frozen=True)
class Request:
    """One request, as it came; a POST has its JSON as `body`."""

    method: str
    path: str
    headers: Message
    body: Any = None


class Exchange(BaseHTTPRequestHandler):
    """The means to answer a request well or badly; one for each connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def begin(self, status: int = 200, kind: str = "text/event-stream", **headers: str) -> None:
        """The head of a response that goes on, in chunks, until `end`."""
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Transfer-Encoding", "chunked")
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    def write(self, data: bytes) -> None:
        """One chunk."""
        self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
        self.wfile.flush()

    def end(self) -> None:
        """The end of the response; the connection is kept."""
        self.wfile.write(b"0\r\n\r\n")
        self.wfile.flush()

    def wait(self, seconds: float) -> bool:
        """Whether the client let go within `seconds`."""
        self.connection.settimeout(seconds)
        try:
            gone = self.connection.recv(1) == b""
        except TimeoutError:
            gone = False
        except OSError:
            gone = True
        self.connection.settimeout(None)
        if gone:
            self.close_connection = True
            self.server.hung_up.set()
        return gone

    def answer(self, status: int, body: bytes, kind: str = "application/json", **headers: str) -> None:
        """A whole response."""
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        self.server.requests.append(Request("GET", self.path, self.headers))
        if self.path.partition("?")[0].endswith("/models"):
            with contextlib.suppress(OSError):
                self.server.lists(self)
        else:
            self.answer(404, b"{}")

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        behaviour = self.server.next_behaviour(Request("POST", self.path, self.headers, body))
        with contextlib.suppress(OSError):
            behaviour(self)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name there
        """Nothing: a test says what it wants to know."""


Behaviour = Callable[[Exchange], None]


class _Server(ThreadingHTTPServer):
    # Threads that wait for a client are joined: no thread of a test outlives it.
    daemon_threads = False
    request_queue_size = 128

    def __init__(self, behaviours: tuple[Behaviour, ...], lists: Behaviour) -> None:
        super().__init__(("127.0.0.1", 0), Exchange)
        self.requests: list[Request] = []
        self.connections = 0
        self.asked = threading.Event()
        self.hung_up = threading.Event()
        self._behaviours = behaviours
        self.lists = lists
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()

    def next_behaviour(self, request: Request) -> Behaviour:
        with self._lock:
            self.requests.append(request)
            asked = len([one for one in self.requests if one.method == "POST"])
        self.asked.set()
        return self._behaviours[min(asked, len(self._behaviours)) - 1]

    def get_request(self) -> tuple[socket.socket, Any]:
        accepted = super().get_request()
        with self._lock:
            self.connections += 1
            self._open.add(accepted[0])
        return accepted

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._open.discard(request)
        super().shutdown_request(request)

    def hang_up(self) -> None:
        """End every connection, so that no thread goes on waiting for its client."""
        with self._lock:
            for one in self._open:
                with contextlib.suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)


class ModelServer:
    """Serves in a thread while the context lasts; the nth POST gets the nth behaviour, or the last.

    `lists` answers who asks which models there are.
    """

    def __init__(self, *behaviours: Behaviour, lists: Behaviour | None = None) -> None:
        self._server = _Server(behaviours, lists or gives({"data": []}))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self.requests = self._server.requests
        self.asked = self._server.asked
        self.hung_up = self._server.hung_up

    def list_with(self, lists: Behaviour) -> None:
        """What answers from now on who asks which models there are."""
        self._server.lists = lists

    @property
    def connections(self) -> int:
        """How many connections were made to it so far."""
        return self._server.connections

    @property
    def bodies(self) -> list[Any]:
        """What each POST asked."""
        return [request.body for request in self.requests if request.method == "POST"]

    def __enter__(self) -> ModelServer:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.hang_up()
        self._server.server_close()
        self._thread.join()


def gives(answer: Any, status: int = 200) -> Behaviour:
    """A whole answer: bytes as they are, everything else as JSON."""
    body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
    return lambda exchange: exchange.answer(status, body)


# --- what both protocols do -----------------------------------------------------------------------


def events(pieces: Iterable[Any]) -> bytes:
    """Server-sent events with these data: text as it is, everything else as JSON."""
    return b"".join(
        b"data: " + (piece if isinstance(piece, str) else json.dumps(piece)).encode() + b"\n\n"
        for piece in pieces
    )


def says(pieces: Iterable[Any]) -> Behaviour:
    """Every piece an event, then a proper end."""
    stream = events(pieces)
    return sends(stream)


def sends(stream: bytes, kind: str = "text/event-stream") -> Behaviour:
    """These bytes, then a proper end."""

    def behave(exchange: Exchange) -> None:
        exchange.begin(kind=kind)
        if stream:
            exchange.write(stream)
        exchange.end()

    return behave


def breaks_off(stream: bytes) -> Behaviour:
    """These bytes, then the end of the connection without the end of the response."""

    def behave(exchange: Exchange) -> None:
        exchange.begin()
        if stream:
            exchange.write(stream)
        exchange.close_connection = True

    return behave


def falls_silent(stream: bytes = b"") -> Behaviour:
    """These bytes, and then nothing for a minute."""

    def behave(exchange: Exchange) -> None:
        exchange.begin()
        if stream:
            exchange.write(stream)
        exchange.wait(WHOLE_AFTER)

    return behave


def says_nothing(exchange: Exchange) -> None:
    """Not even a head, for a minute."""
    exchange.wait(WHOLE_AFTER)


def hangs_up(exchange: Exchange) -> None:
    """Resets the connection without a word, as when a server's process is killed."""
    exchange.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    exchange.close_connection = True


def slowly(before: Iterable[Any], piece: Any) -> Behaviour:
    """`before`, then `piece` several times over a second, and then nothing for a minute."""

    def behave(exchange: Exchange) -> None:
        exchange.begin()
        exchange.write(events(before))
        for _ in range(SLOW_PIECES):
            exchange.write(events([piece]))
            if exchange.wait(SLOW_FOR / SLOW_PIECES):
                return
        exchange.wait(WHOLE_AFTER)

    return behave


def refuses(status: int, error: Any = None, kind: str = "application/json", **headers: str) -> Behaviour:
    """Answers with `status`, and with `error` as the body."""
    body = error if isinstance(error, bytes) else json.dumps(error or {}).encode()

    def behave(exchange: Exchange) -> None:
        exchange.answer(status, body, kind, **headers)

    return behave
