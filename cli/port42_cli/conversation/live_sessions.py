"""Sessions at a terminal as they go on: each record once, replies as they come, whoever sends them."""

from __future__ import annotations

from port42_cli.conversation.live import EVERY, LiveReply
from port42_cli.conversation.show import TurnResult
from port42_cli.terminal import uninterrupted
from port42_cli.views import transcript
from port42_cli.views.activities import Detail
from port42_cli.views.rich_printer import group, text
from port42_client.wire import Event
from port42_protocol.messages.records import Activity, AssistantMessage, EventRecord, convert_record


class LiveSessions(LiveReply):
    """Shows all events of one session or several.

    One reply at a time is shown as it comes; a reply that another session gets meanwhile is shown when it
    is whole. Nothing moves between turns.
    """

    how_to_stop = ""  # Ctrl-C ends the following, not a turn of somebody else

    def __init__(self, *, several: bool = False, detail: Detail = "folded") -> None:
        super().__init__(None, detail)
        self._several = several
        self._headed: str | None = None  # the session whose name was printed last
        self._replying: str | None = None  # the session whose reply is shown as it comes
        self._repeats = False

    @uninterrupted()
    def on_event(self, event: Event) -> None:
        kind, session_id = event["kind"], event.get("session_id")
        if kind == "message":
            self._record(event)
        elif kind == "ended":
            if session_id == self._replying:
                self._turn_ended()
        elif kind == "overflow":
            self._repeats = True
        elif kind in {"text", "thought", "tool"} and self._replying in {None, session_id}:
            self._head(event)
            if self._replying is None:
                self._live.heading(text(transcript.speaker("assistant")))
            self._replying = session_id
            self.interval = EVERY
            super().on_event(self._new_part(event))

    @uninterrupted()
    def end(self, result: TurnResult) -> None:
        """Nothing, for the record of the reply was shown; unless it was lost in an overflow."""
        if result.get("reply_seq") and self._last_reply != (result["session_id"], result["reply_seq"]):
            super().end(result)

    def _record(self, event: Event) -> None:
        record = convert_record(event["message"])
        session_id = event["session_id"]
        if session_id == self._replying and isinstance(record, AssistantMessage | Activity):
            self._on_record(session_id, record)
            if isinstance(record, AssistantMessage) and record.status:
                self._live.line(text(transcript.outcome(record)))
                self._turn_ended()
            return
        if isinstance(record, AssistantMessage) and record.status:
            self._last_reply = (session_id, record.seq)
        if self._replying is not None:
            self._finish()
        if self._replying == session_id and record.role == "user":
            self._turn_ended()  # a daemon went away in the middle of a turn
        if isinstance(record, Activity):
            if self._detail != "hidden":
                self._head(event)
                self._activity(record)
        else:
            self._head(event)
            what = "line" if isinstance(record, EventRecord) else "spaced"
            self._live.print(group(transcript.record(record, self._detail)), what)

    def _new_part(self, event: Event) -> Event:
        """After an overflow the reply under way comes from its beginning: leave out what was shown of it."""
        if (
            self._repeats
            and event["kind"] == "text"
            and event["text"].startswith(shown := "".join(self._texts))
        ):
            self._repeats = False
            return event | {"text": event["text"][len(shown) :]}
        return event

    def _turn_ended(self) -> None:
        self._finish_reply()
        self.clear()
        self._replying = None
        self.interval = None

    def _head(self, event: Event) -> None:
        if self._several and event["session_id"] != self._headed:
            self._headed = event["session_id"]
            self._finish()
            self._live.heading(text(f"@{event['agent']} {self._headed}", "bold"))
