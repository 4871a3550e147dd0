"""How this machine and the hub are to each other, and how far each machine is."""

from __future__ import annotations

from collections.abc import Iterator

from port42_cli.plain_text import advice, duration, size
from port42_cli.views.parts import Column, Content, Field, Fields, Part, Table, number
from port42_protocol.counting import count
from port42_protocol.messages.hub import HubMachine, HubStatus

STYLES = {
    "connected": "green",
    "connecting": "yellow",
    "paused": "yellow",
    "unreachable": "red",
    "refused": "red",
}


_WAITS = {"to push": "to be pushed", "to pull": "to be brought here", "busy": "for the end of a turn"}


def status(hub: HubStatus) -> Iterator[Part]:
    """The facts, then a row for each machine.

    Scripts get a line for each fact, and one for each machine: name, version, seconds since it was there,
    changes that it lacks, sessions that it had not pushed, whether it is this one.
    """
    yield Fields(tuple(_facts(hub)))
    if hub.machines:
        yield Table(hub.machines, (_NAME, _SEEN, _BEHIND, _WAITING, _VERSION))
        yield Table(hub.machines, piped=_cells)


def _facts(hub: HubStatus) -> Iterator[Field]:
    yield Field("state", hub.state, shown=[(hub.state, STYLES.get(hub.state, "dim"))])
    yield Field("problem", hub.problem and advice(hub.problem), multiline=True, trouble=True)
    yield Field("address", hub.address)
    yield Field("owner", hub.owner)
    yield Field("machine", hub.machine)
    if hub.state == "off":
        return
    waiting = {"to push": hub.waiting, "to pull": hub.to_pull, "busy": hub.busy}
    for name, number_of in waiting.items():
        yield Field(name, number_of, "")
    shown = [
        f"{count(number_of, 'session')} {_WAITS[name]}" for name, number_of in waiting.items() if number_of
    ]
    nothing = "nothing" if hub.waiting is not None else "not known before the hub answers"
    yield Field("", True, "waits", ", ".join(shown) or nothing)
    if hub.lag_ms is not None:
        yield Field("lag", f"{hub.lag_ms} ms", shown=f"{hub.lag_ms} ms for the last push")
    if hub.sessions is not None and hub.bytes is not None:
        yield Field("sessions", hub.sessions, "at the hub", count(hub.sessions, "session"))
        yield Field("bytes", hub.bytes, "at the hub", size(hub.bytes))


def _cells(machine: HubMachine) -> tuple[object, ...]:
    facts = (machine.name, machine.version, machine.seen_seconds, machine.behind, machine.waiting)
    return ("machine", *facts, "this" if machine.this else "")


def _name(machine: HubMachine) -> Content:
    return [(machine.name, "bold"), (" (this one)", "dim")] if machine.this else [(machine.name, "bold")]


_NAME: Column[HubMachine] = Column("MACHINE", _name, fit="ellipsis")
_SEEN: Column[HubMachine] = Column("SEEN", lambda machine: f"{duration(machine.seen_seconds)} ago", "dim")
_BEHIND: Column[HubMachine] = number("BEHIND", lambda machine: machine.behind)
_WAITING: Column[HubMachine] = number("TO PUSH", lambda machine: machine.waiting)
_VERSION: Column[HubMachine] = Column("VERSION", lambda machine: machine.version, "dim")
