"""A blocking client on a Unix socket: sends requests, returns results, reconnects after a restart.

A call raises `DaemonError` (it refused), `NoDaemon` (it could not be reached, or went away) or `BadInput`
(the request is not JSON). Notifications go to the call's `Listener`, or are what `Client.events` yields.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing, suppress
from itertools import count
from select import POLLIN, poll
from typing import Any, Protocol, TypeAlias, TypeVar

import jsonrpcclient

from port42_client import silence, wire
from port42_client.errors import CommandError, DaemonError, NoDaemon
from port42_client.silence import Silence
from port42_client.wire import Event, JsonObject
from port42_protocol.errors import FrameTooLarge, InvalidParams, MethodNotFound, ShuttingDown
from port42_protocol.framing import LineFramer
from port42_protocol.request import Request, method_of, result_of

R = TypeVar("R")

_OF_OTHER_SHAPES = (AttributeError, LookupError, TypeError, ValueError)
"""What is raised where an answer of another shape than was expected is used."""

Params: TypeAlias = "Mapping[str, Any] | list[Any] | None"

ANSWER_LIMIT = 64 * 1024 * 1024
"""Bytes of one answer: a page has 4 MiB, but its last message may be as long again, and escaped."""

TURNS = frozenset({"possess", "retry_turn"})
"""The methods that ask a back end."""

ATTEMPTS = 4
"""Maximum attempts of a request while daemons are stopping."""

TRACE_LIMIT = 500
"""Characters of a line that ``PORT42_DEBUG=1`` shows; longer ones are cut in the middle."""

READING = {"disk_usage", "export_session", "find_session", "get_agent", "get_last_session", "get_session"}
READING |= {"list_agents", "list_sessions", "rpc.discover", "stats", "status"}
READING |= {"get_index_status", "hello", "list_models", "search_sessions", "session_tree"}
"""The methods that change nothing, so that asking them twice does no harm."""


class Listener(Protocol):
    """Gets what the daemon sends before the result of a call. All methods run on the calling thread."""

    @property
    def interval(self) -> float | None:
        """Seconds after which `on_tick` is called though nothing came; None: never."""

    def fileno(self) -> int:
        """A descriptor; when it can be read from, `on_readable` is called."""

    def on_event(self, event: Event) -> None: ...

    def on_readable(self) -> None: ...

    def on_tick(self) -> None:
        """`interval` is over, or something came."""


class Client:
    """One connection, opened at the first call by `connect` and again after it was lost.

    `host` is the machine that it leads to, None for this one.
    """

    def __init__(
        self,
        connect: Callable[[], socket.socket],
        notice: Callable[[str], None] = lambda _: None,
        patience: float | None = None,
        *,
        host: str | None = None,
    ) -> None:
        self.host = host
        self._connect = connect
        self._notice = notice
        self._patience = silence.PATIENCE if patience is None else patience
        self._socket: socket.socket | None = None
        self._framer = LineFramer(ANSWER_LIMIT)
        self._ids = count(1)
        self._number = 0  # of the request under way
        self._sent = False
        self._came: tuple[str | None, Any] = (None, None)  # last: a method and its result, or an event
        self._traced = os.environ.get("PORT42_DEBUG", "0") not in {"", "0"}

    def __enter__(self) -> Client:
        return self

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        """Raises `NoDaemon` instead of what was raised over an answer or event of another shape."""
        self.close()
        if isinstance(error, _OF_OTHER_SHAPES):
            self._check_what_came()

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def call(self, request: Request[R], *, listener: Listener | None = None) -> R:
        result = self.ask(method_of(type(request)), params_of(request), listener=listener)
        return decode(result_of(type(request)), result)

    def pages(self, request: Request[R]) -> Iterator[R]:
        """Each page that answers `request`, from its cursor on to the last, asked for when it is wanted."""
        result = result_of(type(request))
        for page in self.ask_pages(method_of(type(request)), params_of(request)):
            yield decode(result, page)

    def ask(self, method: str, params: Params = None, *, listener: Listener | None = None) -> Any:
        """The result of `method` as plain values: what ``--json`` prints and `decode` makes typed.

        For commands that cannot afford the definition of a request dataclass (1.2 ms each on 3.11); others
        use `call`.
        """
        with closing(self.stream(method, params, listener=listener)) as events:
            while True:
                try:
                    event = next(events)
                except StopIteration as end:
                    return end.value
                if listener is not None:
                    listener.on_event(event)

    def stream(
        self, method: str, params: Params = None, *, listener: Listener | None = None
    ) -> Generator[Event, None, Any]:
        """The events that come before the result of `method`, which the generator returns.

        `listener` gets no events, but all else. Closed before its end, the generator hangs up; that ends a
        turn unless it is detached. Raises what `ask` raises.
        """
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return (yield from self._exchange(method, params, listener))
            except DaemonError as error:
                if error.code != ShuttingDown.code or attempt == ATTEMPTS:
                    raise self._explained(method, params, error) from None
                self._await_its_end()
            except _WentAwayError:
                if self._sent and not may_be_repeated(method, params):
                    raise went_away(method) from None
        raise went_away()

    def ask_pages(self, method: str, params: Mapping[str, Any]) -> Iterator[Any]:
        """As `pages`, in plain values."""
        onward: Mapping[str, Any] | None = params
        while onward is not None:
            page = self.ask(method, onward)
            yield page
            onward = next_page(page, onward)

    def ask_rows(
        self,
        method: str,
        params: Mapping[str, Any],
        rows: str,
        *,
        limit: int | None = None,
        per_page: int = 500,
    ) -> Any:
        """The first `limit` rows of a list (None: all) as one page, in plain values.

        `rows` is the field they are in, `per_page` how many of them one request may ask for.
        """
        whole = self.ask(method, {**params, "limit": min(per_page, limit or per_page)})
        while (cursor := whole["next_cursor"]) and (limit is None or len(whole[rows]) < limit):
            left = per_page if limit is None else min(per_page, limit - len(whole[rows]))
            request = {**params, "limit": left, "cursor": cursor}
            page = self.ask(method, request)
            next_page(page, request)
            if "complete" in whole:
                page["complete"] = page["complete"] and whole["complete"]
            whole = {**page, rows: [*whole[rows], *page[rows]]}
        return whole

    def notify(self, method: str, params: Mapping[str, Any]) -> None:
        """Have `method` carried out, on the connection there is, without waiting for its result."""
        if self._socket is not None:
            self._write(wire.encode(jsonrpcclient.notification(method, dict(params))))

    def cancel(self) -> None:
        """Cancel the request under way, on this connection, from a signal handler or another thread.

        A daemon before 0.2.0 does not understand it.
        """
        self.notify("$/cancel", {"id": self._number})

    def events(
        self, method: str, params: JsonObject, interval: Callable[[], float | None] = lambda: None
    ) -> Iterator[Event | None]:
        """The events that follow a request, which may be long before its result; ends with the connection.

        None is yielded when nothing came for `interval()` seconds. Raises what `ask` raises when the request
        is refused.
        """
        number = next(self._ids)
        quiet = Silence(method, self._patience, self._notice, self._ping, silence.FOLLOWING)
        try:
            self._send(jsonrpcclient.request(method, dict(params), id=number), quiet)
            while True:
                pause = interval()
                if (message := self._message(quiet, None, pause)) is None:
                    if pause is not None:
                        yield None
                elif "id" not in message:
                    yield wire.event_in(message)
                elif message["id"] == number:
                    wire.result_in(message)
        except DaemonError as error:
            raise self._explained(method, params, error) from None
        except _WentAwayError:
            return
        finally:
            self.close()

    def _exchange(
        self, method: str, params: Params, listener: Listener | None
    ) -> Generator[Event, None, Any]:
        number = self._number = next(self._ids)
        # jsonrpcclient takes the array form of params as a tuple.
        given: Any = tuple(params) if isinstance(params, list) else params
        quiet = Silence(method, self._patience, self._notice, self._ping if method in TURNS else None)
        try:
            self._send(jsonrpcclient.request(method, given, id=number), quiet)
            result = wire.result_in((yield from self._answer_to(number, quiet, listener)))
            self._came = (method, result)
            return result
        except DaemonError:
            raise
        except BaseException:
            # After an interrupted call (Ctrl-C) its response must not be read by the next one.
            self.close()
            raise

    def _explained(self, method: str, params: Params, error: DaemonError) -> DaemonError:
        if error.code not in {MethodNotFound.code, InvalidParams.code} or method == "status":
            return error
        with suppress(CommandError, _WentAwayError, TypeError, KeyError):
            from port42_client import version

            status = self.ask("status")
            if why := version.misunderstood(method, params, error.message, status, self.host):
                return type(error)(error.code, why, error.data)
        return error

    def _check_what_came(self) -> None:
        # Imported here: only where it went wrong.
        from port42_protocol.messages.events import SessionEvent
        from port42_protocol.methods import METHODS

        method, value = self._came
        event: Any = SessionEvent
        if method in METHODS:
            decode(METHODS[method].result, value)
        elif value is not None and value["kind"] != "unknown":
            decode(event, value)

    def _ping(self) -> None:
        """Send a request that every daemon answers at once; any message counts as the reply."""
        assert self._socket is not None  # noqa: S101 - tells mypy that an answer is awaited
        self._socket.settimeout(silence.SLOW)
        with suppress(OSError):
            self._write(wire.encode(jsonrpcclient.request("status", id=next(self._ids))))

    def _send(self, request: JsonObject, quiet: Silence) -> None:
        line = wire.encode(request)
        if self._socket is None:
            self._socket = self._connect()
            self._framer = LineFramer(ANSWER_LIMIT)
        self._socket.settimeout(self._patience)
        try:
            self._write(line)
        except TimeoutError:
            raise quiet.given_up() from None

    def _write(self, line: bytes) -> None:
        assert self._socket is not None  # noqa: S101 - tells mypy what the callers saw to
        self._trace("→", line)
        # Where the daemon hangs up, perhaps over the length of this line, its answer says why. A line whose
        # end could not be written is never carried out.
        self._sent = False
        with suppress(BrokenPipeError, ConnectionResetError):
            self._socket.sendall(line + b"\n")
            self._sent = True

    def _answer_to(
        self, number: int, quiet: Silence, listener: Listener | None
    ) -> Generator[Event, None, JsonObject]:
        """The events before the answer to request `number`, or to a line not understood, and that."""
        while True:
            message = self._message(quiet, listener, listener.interval if listener else None)
            if message is None:
                if listener is not None:
                    listener.on_tick()
            elif "id" not in message:
                event = wire.event_in(message)
                self._came = (None, event)
                yield event
            elif message["id"] == number or (message["id"] is None and "error" in message):
                return message

    def _message(
        self, quiet: Silence, listener: Listener | None, interval: float | None
    ) -> JsonObject | None:
        """The next object; None when there is none within `interval`, or when `listener` was called."""
        while True:
            try:
                line = self._framer.next_line()
            except FrameTooLarge:
                raise NoDaemon(f"the daemon's answer has more than {ANSWER_LIMIT:,} bytes") from None
            if line is None:
                if not self._wait(quiet, listener, interval):
                    return None
                continue
            self._trace("←", line)
            if (message := wire.decode_line(line)) is not None:
                return message

    def _wait(self, quiet: Silence, listener: Listener | None, interval: float | None) -> bool:
        """Take in what the daemon sent; False when nothing came for `interval`, or `listener` was called."""
        if self._socket is None:
            raise _WentAwayError
        timeout = quiet.left() if interval is None else min(interval, quiet.left())
        waiting = poll()  # select(2) takes no descriptor above 1023, of which a script may have more
        waiting.register(self._socket, POLLIN)
        if listener is not None:
            waiting.register(listener.fileno(), POLLIN)
        ready = {descriptor for descriptor, _ in waiting.poll(1000 * timeout)}
        if listener is not None and listener.fileno() in ready:
            listener.on_readable()
            return False
        if not ready:
            quiet.check()
            return False
        quiet.reset()
        if not (data := self._receive()):
            raise _WentAwayError
        self._framer.feed(data)
        return True

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
            self._socket.settimeout(silence.PATIENCE)
            try:
                while self._receive():
                    pass
            except TimeoutError:
                raise NoDaemon(f"the daemon is still stopping after {silence.PATIENCE:.0f} s") from None
            finally:
                self.close()

    def _trace(self, direction: str, line: bytes) -> None:
        if not self._traced:
            return
        text = line.decode(errors="replace")
        # Inside JSON a terminal's control characters can be shown as JSON escapes them.
        text = "".join(char if char.isprintable() else f"\\u{ord(char):04x}" for char in text)
        if len(text) > TRACE_LIMIT:
            half = TRACE_LIMIT // 2
            text = f"{text[:half]} … {text[-half:]} ({len(line):,} bytes)"
        print(direction, text, file=sys.stderr, flush=True)


def next_page(page: Mapping[str, Any], params: Mapping[str, Any]) -> JsonObject | None:
    """The params of the page after `page`, which `params` asked for; None behind the last one.

    Raises `NoDaemon` where that would be the same page again, and again.
    """
    for name, following in (("cursor", page.get("next_cursor")), ("after_seq", page.get("next_after_seq"))):
        if following is not None:
            if following == params.get(name):
                raise NoDaemon("the daemon answers with the same page again and again")
            return {**params, name: following}
    return None


def may_be_repeated(method: str, params: Params) -> bool:
    """Whether a request that may have been carried out can be sent again without harm."""
    return method in READING or (isinstance(params, dict) and "idempotency_key" in params)


def went_away(method: str | None = None) -> NoDaemon:
    """With a `method`, one that may have been carried out and cannot be repeated."""
    unclear = f"; {method} may have been carried out, so it was not sent again" if method else ""
    return NoDaemon(f"the daemon went away before it answered{unclear}")


def decode(result: type[R], answer: Any) -> R:
    """The result of `ask` as a `result` dataclass. Raises `NoDaemon` when another version answered."""
    from msgspec import ValidationError

    from port42_protocol.codec import decode_result

    try:
        return decode_result(result, answer)
    except ValidationError as error:
        name = getattr(result, "__name__", "event")
        raise NoDaemon(
            f"the daemon's {name} is not what this version of port42 expects ({error});"
            " `port42 daemon restart` starts this version's daemon"
        ) from None


def params_of(request: Request[Any]) -> JsonObject:
    # Imported here: a command that only prints the daemon's JSON needs no msgspec.
    from msgspec import to_builtins

    return given(**to_builtins(request))


def given(**params: Any) -> JsonObject:
    """Those that are not None: a daemon of an earlier version may not know the others."""
    return {name: value for name, value in params.items() if value is not None}


class _WentAwayError(Exception):
    """The connection was closed and nothing had been answered."""
