"""A blocking client on a Unix socket: a request in, its result out, a restart of the daemon survived.

What the daemon says meanwhile without being asked goes to whoever listens: an `Ear` for the length of a
call, or the one who iterates over `Client.events`.

`DaemonError` (it said no), `NoDaemon` (it could not be reached or went away) and `BadInput` (the
request cannot be written as UTF-8) are the exceptions that leave a call.
"""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from select import select
from typing import Any, Protocol, TypeVar

import jsonrpcclient

from port42_client.errors import BadInput, CommandError, DaemonError, NoDaemon
from port42_protocol.errors import FrameTooLarge, InvalidParams, MethodNotFound, ShuttingDown
from port42_protocol.framing import LineFramer
from port42_protocol.naming import method_of

R = TypeVar("R")

Event = dict[str, Any]
"""A `messages.SessionEvent` in plain values: building dataclasses would cost a command its start-up."""

ANSWER_LIMIT = 64 * 1024 * 1024
"""Bytes of one answer: a page has 4 MiB, but its last message may be as long again, and escaped."""

PATIENCE = 30.0
"""Seconds an answer may take, but for a turn, which takes as long as its back end does."""

TURNS = frozenset({"possess", "retry_turn"})
"""The methods that ask a back end."""

ATTEMPTS = 4
"""How often a request is put to a daemon that is just stopping before its error is believed."""

TRACE_LIMIT = 500
"""Characters of a line that ``PORT42_DEBUG=1`` shows; longer ones are cut in the middle."""

READING = frozenset(
    {
        "disk_usage",
        "export_session",
        "find_session",
        "get_agent",
        "get_last_session",
        "get_session",
        "list_agents",
        "list_sessions",
        "rpc.discover",
        "stats",
        "status",
    }
)
"""The methods that change nothing, so that asking them twice does no harm."""


class Ear(Protocol):
    """Who listens while an answer is awaited."""

    @property
    def pulse(self) -> float | None:
        """Seconds until `beat` is called again though nothing came; None: never."""

    def fileno(self) -> int:
        """A descriptor; when it can be read from, `woken` is called."""

    def hear(self, event: Event) -> None:
        """Take an event of the session."""

    def woken(self) -> None:
        """What the descriptor stands for has happened."""

    def beat(self) -> None:
        """Time has passed."""


class Client:
    """One connection, opened at the first call by `connect` and again after it was lost."""

    def __init__(self, connect: Callable[[], socket.socket]) -> None:
        self._connect = connect
        self._socket: socket.socket | None = None
        self._framer = LineFramer(ANSWER_LIMIT)
        self._next_id = 1
        self._sent = False
        self._traced = os.environ.get("PORT42_DEBUG", "0") not in {"", "0"}

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Hang up; the next call dials again."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def call(self, request: object, result: type[R]) -> R:
        """The `result` dataclass that answers a `request` dataclass, as `protocol.methods` pairs them."""
        # Imported here: a command that prints the daemon's JSON as it comes needs no msgspec.
        from msgspec import to_builtins

        params = {name: value for name, value in to_builtins(request).items() if value is not None}
        return decode(result, self.ask(method_of(type(request)), params))

    def ask(
        self, method: str, params: dict[str, Any] | list[Any] | None = None, *, ear: Ear | None = None
    ) -> Any:
        """The plain result of `method`: what `call` decodes and ``--json`` prints."""
        # A request that may have been carried out is never sent again, unless that does no harm.
        harmless = method in READING or (isinstance(params, dict) and "idempotency_key" in params)
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return self._exchange(method, params, ear)
            except DaemonError as error:
                if error.code != ShuttingDown.code or attempt == ATTEMPTS:
                    raise self._explained(method, params, error) from None
                self._await_its_end()
            except _WentAwayError:
                if not harmless and self._sent:
                    raise NoDaemon(
                        f"the daemon went away before it answered; {method} may have been"
                        " carried out, so it was not sent again"
                    ) from None
                if attempt == ATTEMPTS:
                    break
        raise NoDaemon("the daemon went away before it answered")

    def tell(self, method: str, params: dict[str, Any]) -> None:
        """Have `method` carried out, on the connection there is, without waiting for what it answers."""
        line = _encode(jsonrpcclient.notification(method, params))
        if self._socket is not None:
            self._write(line)

    def events(
        self, method: str, params: dict[str, Any], pulse: Callable[[], float | None] = lambda: None
    ) -> Iterator[Event | None]:
        """What is heard from a request on, which may be long before its answer; ends with the connection.

        None is yielded when nothing came for `pulse()` seconds. Raises what `ask` raises when the request
        is refused.
        """
        line = _encode(jsonrpcclient.request(method, params, id=self._number()))
        try:
            self._send(line, patience=None)
            while self._socket is not None:
                self._socket.settimeout(pulse())
                try:
                    message = self._message()
                except TimeoutError:
                    yield None
                    continue
                if message is None:
                    continue
                if "id" not in message:
                    yield _event(message)
                elif isinstance(refused := _parsed(message), jsonrpcclient.Error):
                    error = DaemonError(refused.code, refused.message, refused.data)
                    raise self._explained(method, params, error)
        except _WentAwayError:
            return
        finally:
            self.close()

    def _number(self) -> int:
        number, self._next_id = self._next_id, self._next_id + 1
        return number

    def _exchange(self, method: str, params: dict[str, Any] | list[Any] | None, ear: Ear | None) -> Any:
        number = self._number()
        # jsonrpcclient takes the array form of params as a tuple.
        given = tuple(params) if isinstance(params, list) else params
        line = _encode(jsonrpcclient.request(method, given, id=number))
        try:
            self._send(line, patience=None if method in TURNS else PATIENCE)
            answer = self._answer_to(number, ear)
        except TimeoutError:
            self.close()
            raise NoDaemon(f"the daemon took {method} and did not answer within {PATIENCE:.0f} s") from None
        except BaseException:
            # Half an exchange (Ctrl-C, say) must not leave its answer to be read by the next one.
            self.close()
            raise
        if isinstance(answer, jsonrpcclient.Ok):
            return answer.result
        raise DaemonError(answer.code, answer.message, answer.data)

    def _explained(
        self, method: str, params: dict[str, Any] | list[Any] | None, error: DaemonError
    ) -> DaemonError:
        """The error, or, where the daemon's version is why a request was refused, one that says so."""
        if error.code not in {MethodNotFound.code, InvalidParams.code}:
            return error
        with suppress(CommandError, _WentAwayError, TypeError, KeyError):
            from port42_client import version

            status = self._exchange("status", None, None)
            if why := version.misunderstood(method, params, error.message, status):
                return DaemonError(error.code, why, error.data)
        return error

    def _send(self, line: bytes, patience: float | None) -> None:
        if self._socket is None:
            self._socket = self._connect()
            self._framer = LineFramer(ANSWER_LIMIT)
        self._socket.settimeout(patience)
        self._write(line)

    def _write(self, line: bytes) -> None:
        assert self._socket is not None  # noqa: S101 - tells mypy what the callers saw to
        self._trace("→", line)
        # Where it hangs up on us, perhaps over the length of this very line, its answer says why. A
        # line whose end could not be written is never carried out.
        self._sent = False
        with suppress(BrokenPipeError, ConnectionResetError):
            self._socket.sendall(line + b"\n")
            self._sent = True

    def _answer_to(self, number: int, ear: Ear | None) -> jsonrpcclient.Ok | jsonrpcclient.Error:
        """The parsed answer to request `number`, or the error that stands for a line not understood."""
        while True:
            message = self._message(ear)
            if message is None:
                continue
            if "id" not in message:
                if ear is not None:
                    ear.hear(_event(message))
                continue
            answer = _parsed(message)
            if answer.id == number or (answer.id is None and "error" in message):
                return answer

    def _message(self, ear: Ear | None = None) -> dict[str, Any] | None:
        """The next line as an object; None for an answer to a batch, which nobody here sends."""
        line = self._next_line(ear)
        self._trace("←", line)
        try:
            message = json.loads(line)
        except ValueError:
            raise _no_json_rpc() from None
        if isinstance(message, list):
            return None
        if not isinstance(message, dict):
            raise _no_json_rpc()
        return message

    def _next_line(self, ear: Ear | None = None) -> bytes:
        try:
            while (line := self._framer.next_line()) is None:
                if ear is not None:
                    self._listen(ear)
                if not (data := self._receive()):
                    raise _WentAwayError
                self._framer.feed(data)
        except FrameTooLarge:
            raise NoDaemon(f"the daemon's answer has more than {ANSWER_LIMIT:,} bytes") from None
        return line

    def _listen(self, ear: Ear) -> None:
        """Wait until the daemon says something, and let `ear` live meanwhile."""
        while self._socket is not None:
            said, woke = self._socket.fileno(), ear.fileno()
            ready, _, _ = select([said, woke], [], [], ear.pulse)
            if woke in ready:
                ear.woken()
            if said in ready:
                return
            ear.beat()

    def _receive(self) -> bytes:
        if self._socket is None:
            return b""
        try:
            return self._socket.recv(256 * 1024)
        except ConnectionResetError:
            return b""

    def _await_its_end(self) -> None:
        """A daemon that stops closes its connections last: wait for that, then dial the next one."""
        if self._socket is not None:
            self._socket.settimeout(PATIENCE)
            try:
                while self._receive():
                    pass
            except TimeoutError:
                raise NoDaemon(f"the daemon is still stopping after {PATIENCE:.0f} s") from None
            finally:
                self.close()

    def _trace(self, direction: str, line: bytes) -> None:
        if not self._traced:
            return
        from port42_cli.plain_text import visible

        text = line.decode(errors="replace")
        if len(text) > TRACE_LIMIT:
            half = TRACE_LIMIT // 2
            text = f"{text[:half]} … {text[-half:]} ({len(line):,} bytes)"
        print(direction, visible(text), file=sys.stderr, flush=True)


def decode(result: type[R], answer: Any) -> R:
    """What `ask` gave as a `result` dataclass. Raises `NoDaemon` when another version answered."""
    from msgspec import ValidationError

    from port42_protocol.codec import decode_result

    try:
        return decode_result(result, answer)
    except ValidationError as error:
        raise NoDaemon(
            f"the daemon's {result.__name__} is not what this version of port42 expects ({error});"
            " `port42 daemon restart` starts this version's daemon"
        ) from None


class _WentAwayError(Exception):
    """The connection was closed and nothing had been answered."""


def _parsed(message: dict[str, Any]) -> jsonrpcclient.Ok | jsonrpcclient.Error:
    try:
        answer = jsonrpcclient.parse(message)
    except (ValueError, TypeError, KeyError, AttributeError):
        raise _no_json_rpc() from None
    if not isinstance(answer, jsonrpcclient.Ok | jsonrpcclient.Error):
        raise _no_json_rpc()
    return answer


def _event(message: dict[str, Any]) -> Event:
    """What a notification says. One of another kind says nothing here."""
    event = message.get("params")
    if message.get("method") != "session_event" or not isinstance(event, dict) or "kind" not in event:
        return {"kind": "unknown"}
    return event


def _no_json_rpc() -> NoDaemon:
    return NoDaemon("what answered does not speak JSON-RPC 2.0")


def _encode(request: dict[str, Any]) -> bytes:
    try:
        return json.dumps(request, ensure_ascii=False, allow_nan=False).encode()
    except UnicodeEncodeError:
        # Bytes that are not UTF-8 reach us from the command line as lone surrogates.
        raise BadInput("what was given is not UTF-8 text") from None
    except ValueError:
        raise BadInput("NaN and Infinity are not JSON numbers") from None
