"""One turn, heard from its question to its end: announced, shown, interrupted, given leave."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from port42_cli import plain_text, streams
from port42_cli.conversation import permission
from port42_cli.conversation.interrupt import Interrupt
from port42_cli.conversation.show import Show
from port42_client.client import Client, Event
from port42_client.errors import DaemonError
from port42_protocol.errors import BackendFailed


class Detached(Exception):
    """The question is on the disk, and the turn goes on without us."""

    def __init__(self, session_id: str) -> None:
        super().__init__(session_id)
        self.session_id = session_id


class Turn:
    """An `Listener` for one `possess` or `retry_turn`. `run` may be called once.

    `asked` is what is asked; `begun` is called with the id of a session that begins with it.
    `among_others`, the other turns of its session are heard too; this one begins with the record that
    has its key.
    """

    def __init__(
        self,
        client: Client,
        show: Show,
        asked: dict[str, Any],
        begun: Callable[[str], None],
        *,
        among_others: bool = False,
    ) -> None:
        self._client = client
        self._show = show
        self._asked = asked
        self._key = asked.get("idempotency_key") if among_others else None
        self._session_id: str | None = asked.get("session_id")
        self._begun = begun
        self._ours = False
        self._interrupt = Interrupt()

    def run(self, method: str) -> dict[str, Any]:
        """The result. Raises `DaemonError`, `Detached`, and KeyboardInterrupt when it is left early."""
        try:
            with self._interrupt:
                said = self._said(method)
                self._in_session(said["session_id"])
                self._show.end(said)
        except DaemonError as error:
            if error.code == BackendFailed.code:
                # What a person can do about it names the agent.
                error.data["agent"] = self._asked["agent"].removeprefix("@")
            raise
        finally:
            self._show.close()
        return said

    # --- what the client calls ----------------------------------------------------------------------

    @property
    def interval(self) -> float | None:
        """How often what is shown moves."""
        return self._show.interval

    def fileno(self) -> int:
        """Readable after Ctrl-C."""
        return self._interrupt.fileno()

    def on_readable(self) -> None:
        """Ctrl-C was pressed: the reply is to stop. Before our turn began there is only us to leave."""
        self._interrupt.take()
        if not self._ours:
            raise KeyboardInterrupt
        self._stop()

    def on_tick(self) -> None:
        """Let what moves move."""
        self._show.on_tick()

    def on_event(self, event: Event) -> None:
        """Show what happened, and answer what is asked."""
        kind = event["kind"]
        self._in_session(event.get("session_id"))
        began = not self._ours and self._is_ours(event)
        self._ours = self._ours or began
        if kind == "waiting":
            self._notice(plain_text.waiting(event["position"]))
        elif kind == "notice":
            self._notice(event["text"])
        self._show.on_event(event)
        if kind == "permission" and self._ours:
            self._permit(event)
        if began and self._asked.get("detach"):
            raise Detached(event["session_id"])

    # --- inside -------------------------------------------------------------------------------------

    def _said(self, method: str) -> dict[str, Any]:
        if self._key is None:
            alone: dict[str, Any] = self._client.ask(method, self._asked, listener=self)
            return alone
        topic = {"session_id": self._session_id}
        self._client.ask("subscribe", topic, listener=self)
        try:
            said: dict[str, Any] = self._client.ask(method, self._asked, listener=self)
            return said
        finally:
            self._client.notify("unsubscribe", topic)

    def _is_ours(self, event: Event) -> bool:
        if self._key is None:
            return event["kind"] not in {"waiting", "unknown"}
        return bool(event["kind"] == "message" and event["message"].get("key") == self._key)

    def _in_session(self, session_id: str | None) -> None:
        # Another one than was asked for: a fork, because that one was busy.
        if session_id is not None and session_id != self._session_id:
            self._session_id = session_id
            self._show.clear()
            self._begun(session_id)

    def _notice(self, text: str) -> None:
        self._show.clear()
        streams.notice(text)

    def _stop(self) -> None:
        self._client.notify("cancel_turn", {"session_id": self._session_id})

    def _permit(self, event: Event) -> None:
        self._show.clear()
        answer = {"session_id": event["session_id"], "permission_id": event["permission_id"]}
        stop = False
        if permission.somebody_is_there():
            try:
                with self._interrupt.at_once():
                    chosen = permission.ask(event)
            except KeyboardInterrupt:
                chosen, stop = None, True
            if chosen is not None:
                answer["option_id"] = chosen
        else:
            streams.notice(f"refused, because nobody is there to be asked: {event['text']}")
        self._client.notify("answer_permission", answer)
        if stop:
            self._stop()
