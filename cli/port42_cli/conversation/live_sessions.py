"""Sessions at a terminal as they go on: whoever speaks in them, each record once, replies as they come."""

from __future__ import annotations

from port42_cli.conversation.live import LiveReply
from port42_cli.conversation.show import TurnResult
from port42_cli.views import transcript
from port42_cli.views.rich_printer import group, text
from port42_client.wire import Event
from port42_protocol.messages.records import AssistantMessage, convert_record

_OF_A_REPLY = {"text", "thought", "tool"}


class LiveSessions(LiveReply):
    """A `Show` of all that is heard of one session or several.

    The pieces of one reply at a time are shown; one that is given in another session meanwhile is shown
    when it is whole. Nothing moves between turns.
    """

    def __init__(self, *, several: bool = False) -> None:
        super().__init__(still=True)
        self._several = several
        self._headed: str | None = None
        self._speaking: str | None = None
        self._last_reply: tuple[str, int] | None = None
        self._again = False

    def on_event(self, event: Event) -> None:
        kind, session_id = event["kind"], event.get("session_id")
        if kind == "message":
            self._record(event)
        elif kind == "ended":
            if session_id == self._speaking:
                self._ended()
        elif kind == "overflow":
            self._again = True
        elif kind in _OF_A_REPLY and self._speaking in {None, session_id}:
            self._head(event)
            self._speaking = session_id
            self._still = False
            super().on_event(self._not_again(event))

    def end(self, result: TurnResult) -> None:
        """Nothing, for the record of the reply was shown; unless we read too slowly to be sent it."""
        if result.get("reply_seq") and self._last_reply != (result["session_id"], result["reply_seq"]):
            super().end(result)

    def _record(self, event: Event) -> None:
        record = convert_record(event["message"])
        session_id = event["session_id"]
        if isinstance(record, AssistantMessage):
            self._last_reply = (session_id, record.seq)
            if session_id == self._speaking:
                self.whole(record.content)
                self.line(text(transcript.outcome(record)))
                self._ended()
                return
        if self._speaking is not None:
            self.finish()
        if self._speaking == session_id and record.role == "user":
            self._ended()  # a daemon went away in the middle of a turn
        self._head(event)
        self.print(group(transcript.record(record)))

    def _not_again(self, event: Event) -> Event:
        """After an overflow the reply under way comes from its beginning: what of it is new."""
        if self._again and event["kind"] == "text" and event["text"].startswith(shown := self._shown()):
            self._again = False
            return event | {"text": event["text"][len(shown) :]}
        return event

    def _ended(self) -> None:
        self.whole(self._shown())
        self.clear()
        self._speaking = None
        self._still = True

    def _head(self, event: Event) -> None:
        if self._several and event["session_id"] != self._headed:
            self._headed = event["session_id"]
            self.finish()
            self.line(text(f"@{event['agent']} {self._headed}", "bold"))
