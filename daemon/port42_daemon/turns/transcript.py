"""A turn's records, made of its back end's events in the order in which they come. Pure."""

from __future__ import annotations

from time import monotonic
from typing import Literal

from msgspec import UNSET, Struct, structs

from port42_daemon import activity
from port42_daemon.backends import base as b
from port42_daemon.backends.decoding import SurrogateJoiner
from port42_daemon.config import SessionsConfig
from port42_protocol.activity import join_texts, one_line
from port42_protocol.messages.records import (
    AssistantMessage,
    EventRecord,
    PermissionRecord,
    PlanEntry,
    PlanRecord,
    Record,
    ToolRecord,
)
from port42_protocol.times import now

LIMIT = 4 * 1024 * 1024  # characters of one reply, or one thought: an agent may never end
_MOST_CALLS = 1000  # that run at once; the oldest is given up for another


class Call(Struct, frozen=True):
    """A tool call that runs: what is known of it, and when it began, by the monotonic clock."""

    tool: b.Tool
    began: float | None

    def record(
        self, state: Literal["done", "failed", "interrupted"], question: int, limits: SessionsConfig
    ) -> ToolRecord:
        tool = self.tool
        return activity.tool_record(
            id=tool.id,
            timestamp=now(),
            state=state,
            limits=limits,
            name=tool.name,
            title=tool.title,
            kind=tool.kind,
            input=tool.input,
            output=tool.output,
            duration_ms=None if self.began is None else round((monotonic() - self.began) * 1000),
            locations=tool.locations,
            question=question,
        )


class Transcript:
    """The text and the activities of a turn. Methods return the records that an event completes.

    A text is complete when an activity begins or ends, a thought when anything else comes, a tool call when
    it ends. `texts` are the complete texts, `text` has the pieces of the last one.
    """

    def __init__(self, question: int, limits: SessionsConfig) -> None:
        self.texts: list[str] = []
        self.text: list[str] = []
        self.calls: dict[str, Call] = {}
        self.overlong = False
        self.used_tools = False
        self._question = question
        self._limits = limits
        self._room = LIMIT
        self._joiner = SurrogateJoiner()
        self._thought: list[str] = []
        self._thought_room = LIMIT
        self._ended: set[str] = set()
        self._plan: tuple[PlanEntry, ...] = ()

    @property
    def reply(self) -> str:
        """All texts, an empty line between them."""
        return join_texts([*self.texts, "".join(self.text)])

    @property
    def has_text(self) -> bool:
        return bool(self.texts) or any(map(str.strip, self.text))

    def add_text(self, text: str) -> tuple[str, list[Record]]:
        """The part of `text` that there is room for, in characters that UTF-8 has."""
        return self._add(self._joiner.feed(text))

    def finish_text(self) -> tuple[str, list[Record]]:
        """As `add_text`, of half a surrogate pair that was held back; no text comes after it."""
        return self._add(self._joiner.end())

    def _add(self, text: str) -> tuple[str, list[Record]]:
        shown = text[: self._room]
        self.overlong = self.overlong or len(text) > self._room
        if not shown:
            return "", []
        self._room -= len(shown)
        self.text.append(shown)
        return shown, self._end_thought()

    def add_thought(self, text: str) -> list[Record]:
        if not text:
            return []
        records = [] if self._thought else self._end_text()
        self._thought.append(text[: self._thought_room])
        self._thought_room -= len(self._thought[-1])
        return records

    def change_tool(self, event: b.Tool) -> tuple[Call, list[Record]]:
        """All that is known of the call after `event`. What is None or empty in it is unchanged."""
        self.used_tools = True
        call = self.calls.get(event.id)
        records: list[Record] = []
        if call is None:
            if event.id in self._ended and event.state != "running":
                return Call(event, None), []  # an update after its end
            records = self._begin_activity()
            call = Call(event, monotonic() if event.state == "running" else None)
            if len(self.calls) >= _MOST_CALLS:
                oldest = next(iter(self.calls))
                records.append(self.interrupted(self.calls.pop(oldest)))
                self._ended.add(oldest)
        else:
            changed = {
                name: value for name, value in structs.asdict(event).items() if value not in (None, "", ())
            }
            call = structs.replace(call, tool=structs.replace(call.tool, **changed))
        self.calls[event.id] = call
        if event.state != "running":
            del self.calls[event.id]
            self._ended.add(event.id)
            records = [
                *(records or self._begin_activity()),
                call.record(event.state, self._question, self._limits),
            ]
        return call, records

    def change_plan(self, entries: tuple[PlanEntry, ...]) -> list[Record]:
        if entries == self._plan:
            return []
        self._plan = entries
        record = PlanRecord(seq=0, timestamp=now(), entries=entries, question=self._question)
        return [*self._begin_activity(), record]

    def compact(self, summary: str | None) -> list[Record]:
        content, _ = activity.shorten(activity.text_of(summary), self._limits.tool_output_bytes)
        record = EventRecord(seq=0, event="compacted", timestamp=now(), content=content or UNSET)
        return [*self._begin_activity(), record]

    def request_permission(self) -> list[Record]:
        """What was complete before the request."""
        return self._begin_activity()

    def answer_permission(self, permission: b.Permission, chosen: str | None, by: str) -> list[Record]:
        """`chosen` is the id of an option."""
        names = {option.id: one_line(option.name) for option in permission.options}
        record = PermissionRecord(
            seq=0,
            timestamp=now(),
            title=one_line(permission.title),
            kind=permission.kind,
            options=tuple(names.values()),
            chosen=None if chosen is None else names.get(chosen, one_line(chosen)),
            by=by,
            question=self._question,
        )
        return [*self._begin_activity(), record]

    def interrupted(self, call: Call) -> ToolRecord:
        return call.record("interrupted", self._question, self._limits)

    def end(self) -> list[Record]:
        """The turn ended: all but the last text. Calls that run are interrupted."""
        calls, self.calls = self.calls, {}
        if not calls:
            return self._end_thought()
        return [*self._begin_activity(), *map(self.interrupted, calls.values())]

    def _begin_activity(self) -> list[Record]:
        return [*self._end_thought(), *self._end_text()]

    def _end_text(self) -> list[Record]:
        text = "".join(self.text)
        if not text.strip():
            return []  # white space alone becomes the beginning of the next text
        self.texts.append(text)
        self.text.clear()
        return [AssistantMessage(seq=0, content=text, timestamp=now(), question=self._question)]

    def _end_thought(self) -> list[Record]:
        thought, self._thought, self._thought_room = "".join(self._thought), [], LIMIT
        record = activity.thought_record(thought, now(), self._limits, self._question)
        return [] if record is None else [record]
