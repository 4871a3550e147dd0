"""One turn from its question to its end: announced, shown, interrupted, its permissions asked for."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress
from shlex import quote
from typing import cast

from port42_cli import plain_text, streams
from port42_cli.conversation.interrupt import Interrupt
from port42_cli.conversation.show import Show, TurnResult
from port42_client.client import Client
from port42_client.errors import ConnectionLost, DaemonError
from port42_client.wire import Event, JsonObject
from port42_protocol.counting import count
from port42_protocol.errors import BackendFailed

_ROWS = 20
"""Lines that are shown of what a permission is requested for."""


class Detached(Exception):
    """The question is on the disk, and the turn goes on without us."""

    def __init__(self, session_id: str) -> None:
        super().__init__(session_id)
        self.session_id = session_id


class Turn:
    """A `Listener` for one `possess` or `retry_turn`. `run` may be called once.

    `params` are those of the request; `on_begin` is called with the id of a session that begins with it.
    With `among_others` the other turns of its session are shown too; this one begins with the record that
    has its key. With `detach` it is left once the question is on the disk.
    """

    def __init__(  # noqa: PLR0913 - a request and how it is to be shown
        self,
        client: Client,
        show: Show,
        params: JsonObject,
        on_begin: Callable[[str], None],
        *,
        among_others: bool = False,
        detach: bool = False,
    ) -> None:
        self._client = client
        self._show = show
        self._params = params
        self._key = params.get("idempotency_key") if among_others else None
        self._session_id: str | None = params.get("session_id")
        self._on_begin = on_begin
        self._detach = detach
        self._ours = False
        self._seen = 0
        self._interrupt = Interrupt()

    def run(self, method: str) -> TurnResult:
        """Raises `DaemonError`, `Detached`, and KeyboardInterrupt when it is left early."""
        try:
            with self._interrupt:
                result = self._call(method)
                self._enter(result["session_id"])
                self._show.end(result)
        except DaemonError as error:
            if error.code == BackendFailed.code:
                # What a person can do about it names the agent.
                error.data["agent"] = self._params["agent"].removeprefix("@")
            raise
        finally:
            self._show.close()
        return result

    @property
    def interval(self) -> float | None:
        return self._show.interval

    def fileno(self) -> int:
        return self._interrupt.fileno()

    def on_readable(self) -> None:
        """Ctrl-C: stop the reply; before the turn began, exit."""
        self._interrupt.take()
        if not self._ours:
            raise KeyboardInterrupt
        self._cancel()

    def on_tick(self) -> None:
        self._show.on_tick()

    def on_event(self, event: Event) -> None:
        kind = event["kind"]
        if session_id := event.get("session_id"):
            self._enter(session_id)
        began = not self._ours and self._is_ours(event)
        self._ours = self._ours or began
        if kind in {"waiting", "notice"}:
            self._show.clear()
            streams.notice(
                plain_text.waiting(event["position"], event.get("machine"))
                if kind == "waiting"
                else event["text"]
            )
        self._show.on_event(event)
        if kind == "permission" and self._ours:
            self._answer_permission(event)
        if kind == "message":
            self._seen = max(self._seen, event["message"].get("seq", 0))
        if began and self._detach:
            raise Detached(event["session_id"])

    def _call(self, method: str, *, again: bool = False) -> TurnResult:
        topic = {"session_id": self._session_id}
        if self._key is not None:
            self._client.ask("subscribe", topic, listener=self)
        try:
            return cast("TurnResult", self._client.ask(method, self._params, listener=self))
        except ConnectionLost as error:
            if self._ours:
                raise ConnectionLost(error.host, *self._followed(error.host)) from None
            if again or "idempotency_key" not in self._params:
                raise
            # It was lost while nothing was asked: in a conversation perhaps hours ago.
            return self._call(method, again=True)
        finally:
            if self._key is not None:
                self._client.notify("unsubscribe", topic)

    def _is_ours(self, event: Event) -> bool:
        if self._key is None:
            return event["kind"] not in {"waiting", "unknown"}
        return event["kind"] == "message" and event["message"].get("key") == self._key

    def _enter(self, session_id: str) -> None:
        # Another one than was asked for: a new one, or a fork because that one was busy.
        if session_id != self._session_id:
            self._session_id = session_id
            self._show.clear()
            self._on_begin(session_id)

    def _followed(self, host: str) -> list[str]:
        """How to see the rest of a turn that continues on a machine to which the connection was lost."""
        return [
            f"  The turn continues on {host}. To follow it:",
            f"  port42 --host {quote(host)} follow {self._session_id} --since {self._seen}",
        ]

    def _cancel(self) -> None:
        self._client.notify("cancel_turn", {"session_id": self._session_id})

    def _answer_permission(self, event: Event) -> None:
        self._show.clear()
        answer = {"session_id": event["session_id"], "permission_id": event["permission_id"]}
        # A question on stderr has to be seen, and an answer on stdin typed.
        if sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty():
            try:
                with self._interrupt.at_once():
                    option_id = _ask_permission(event)
            except KeyboardInterrupt:
                self._cancel()  # refuses, too; after a refusal the agent might end the turn by itself
                return
            if option_id is not None:
                answer["option_id"] = option_id
        else:
            streams.notice(f"refused, because this is not a terminal: {event['text']}")
        self._client.notify("answer_permission", answer)


def _ask_permission(event: Event) -> str | None:
    """The id of the option that is chosen; None when all are refused."""
    # Imported here: a piped turn needs neither.
    import termios

    from port42_cli import terminal
    from port42_protocol.activity import opened_input

    options = event["options"]
    if not options:
        streams.notice(f"refused, because the agent offers no choice: {event['text']}")
        return None
    streams.banner(f"@{event['agent']} asks: {event['text']}")
    given = event.get("input")
    for name, text in opened_input(given, event.get("input_omitted", 0)) if given else ():
        rows = plain_text.visible(text).splitlines()
        more = [f"… {count(len(rows) - _ROWS, 'more line')}"] if len(rows) > _ROWS else []
        print(f"  {name}", *(f"    {row}" for row in rows[:_ROWS] + more), sep="\n", file=sys.stderr)
    for number, option in enumerate(options, 1):
        streams.banner(f"  {number}  {option['name']}")
    with suppress(termios.error):
        termios.tcflush(sys.stdin, termios.TCIFLUSH)  # what was typed before the question was shown
    with terminal.ctrl_d(ends_input=True):
        while True:
            print(f"1 to {len(options)}, or Enter to refuse: ", end="", file=sys.stderr, flush=True)
            typed = ""
            try:
                typed = sys.stdin.readline()
            finally:
                if not typed.endswith("\n"):  # Ctrl-C and Ctrl-D leave the cursor behind the question
                    print(file=sys.stderr)
            if not (typed := typed.strip()):
                return None
            if typed.isdecimal() and 0 < (number := int(typed)) <= len(options):
                return options[number - 1]["id"]
