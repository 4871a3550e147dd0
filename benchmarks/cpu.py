"""CPU time that the daemon spends on a call, in user mode and in the kernel, beside another version's.

What else the machine does changes it far less than it changes the time that passes. Linux only.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path

from benchmarks import scene
from benchmarks.figure import Figure

GROUP = "CPU time of the daemon, user + system, for each call"
AGENT = "ai-engineer"
CONTENT = "build a parser that reads what people type, and says where it stopped understanding"
_BLOCK = 100
_AIMS = {"append_message": 200, "get_session, 20 messages": 200, "status": 150}


@dataclass(frozen=True, slots=True)
class Spent:
    """Microseconds of processor time for a call."""

    user: float
    system: float

    @property
    def total(self) -> float:
        """Both."""
        return self.user + self.system


@dataclass(frozen=True, slots=True)
class _Daemon:
    pid: int
    connection: scene.Connection
    lines: dict[str, bytes]


def measure(calls: int, python: Path | None = None, only: str = "") -> dict[str, list[Spent]]:
    """For each kind of call what this daemon spends, then what that of the interpreter `python` does.

    Blocks of calls take turns, so that both meet the same disturbances.
    """
    with contextlib.ExitStack() as stack:
        daemons = [stack.enter_context(_daemon(which)) for which in (None, python)[: 2 if python else 1]]
        kinds = [kind for kind in daemons[0].lines if only in kind]
        return {kind: _spent([_action(daemon, kind) for daemon in daemons], daemons, calls) for kind in kinds}


def figures(calls: int) -> list[Figure]:
    """The lines of the table of all benchmarks."""
    return [
        Figure(GROUP, kind, spent[0].total, "µs", aim=_AIMS.get(kind))
        for kind, spent in measure(calls).items()
    ]


def show(calls: int, against: Path | None, only: str, written: Path | None) -> None:
    """Measure and print a table; `against` is a checkout with a `.venv` of its own."""
    python = against / ".venv" / "bin" / "python" if against else None
    measured = measure(calls, python, only)
    print(f"{GROUP} ({calls:,} calls), in µs")
    print(f"{'':26}{'here':>15}" + (f"{'against':>18}{'ratio':>8}" if against else ""))
    for kind, spent in measured.items():
        columns = [f"{each.total:6.0f} ({each.user:.0f}+{each.system:.0f})" for each in spent]
        print(f"{kind:26}" + "".join(f"{column:>17}" for column in columns), end="")
        print(f"{spent[0].total / spent[1].total:7.2f}" if against else "")
    if written:
        plain = {kind: [asdict(each) for each in spent] for kind, spent in measured.items()}
        written.write_text(json.dumps(plain, indent=2) + "\n")


@contextlib.contextmanager
def _daemon(python: Path | None) -> Iterator[_Daemon]:
    """A daemon with 20 sessions, one of 20 messages and one to append to, and a request of each kind."""
    with scene.daemon(python=python) as daemon, scene.connected(daemon.socket) as connection:
        sessions = [connection.call("create_session", agent=AGENT)["session_id"] for _ in range(20)]
        read, grown = sessions[0], sessions[1]
        for number in range(20):
            role = ("user", "assistant")[number % 2]
            connection.call("append_message", agent=AGENT, session_id=read, role=role, content=CONTENT)
        append = {"agent": AGENT, "session_id": grown, "role": "user", "content": CONTENT}
        # What changes the home comes last: lists are as long for every kind before it.
        lines = {
            "get_last_session": scene.request("get_last_session", agent=AGENT),
            "get_session, 20 messages": scene.request("get_session", session_id=read),
            "list_sessions, 20": scene.request("list_sessions"),
            "status": scene.request("status"),
            "append_message": scene.request("append_message", **append),
            "create_session": scene.request("create_session", agent=AGENT),
        }
        yield _Daemon(daemon.pid, connection, lines)


def _action(daemon: _Daemon, kind: str) -> Callable[[], None]:
    line = daemon.lines[kind]

    def act() -> None:
        answer = daemon.connection.ask(line)
        if b'"result":' not in answer:
            raise RuntimeError(f"{kind}: {answer.decode()}")

    return act


def _spent(actions: list[Callable[[], None]], daemons: list[_Daemon], calls: int) -> list[Spent]:
    """Blocks of calls in turn; a block has what its daemon does until its next one begins.

    Gives the lower quartile of the blocks: whoever shares the core's caches only adds to the time.
    """
    for action in actions:  # caches are filled, modules loaded
        for _ in range(_BLOCK):
            action()
    clocks = [clock_of(daemon.pid) for daemon in daemons]
    for clock in clocks:
        _settle(clock)
    ticks = [_ticks(daemon.pid) for daemon in daemons]
    starts: list[list[float]] = [[] for _ in daemons]
    order = list(range(len(daemons)))
    for _ in range(-(-calls // _BLOCK)):
        for which in order:
            starts[which].append(time.clock_gettime(clocks[which]))
            for _ in range(_BLOCK):
                actions[which]()
        order.reverse()  # so that none is always the one behind the other
    spent = []
    for daemon, clock, began, before in zip(daemons, clocks, starts, ticks, strict=True):
        blocks = [end - start for start, end in pairwise([*began, _settle(clock)])]
        total = statistics.quantiles(blocks, method="inclusive")[0] / _BLOCK * 1_000_000
        user, system = (now - then for now, then in zip(_ticks(daemon.pid), before, strict=True))
        share = user / max(user + system, 1)
        spent.append(Spent(total * share, total * (1 - share)))
    return spent


def clock_of(pid: int) -> int:
    """The clock of another process's CPU time. It has nanoseconds, where /proc/PID/stat has hundredths."""
    clock = ctypes.c_int()
    if error := ctypes.CDLL(None).clock_getcpuclockid(pid, ctypes.byref(clock)):
        raise OSError(error, "clock_getcpuclockid")
    return clock.value


def _settle(clock: int) -> float:
    """The process's CPU time, once its threads in the background have nothing left to do."""
    spent = time.clock_gettime(clock)
    for _ in range(50):
        time.sleep(0.1)
        before, spent = spent, time.clock_gettime(clock)
        if before == spent:
            break
    return spent


def _ticks(pid: int) -> tuple[int, int]:
    """User and system time by the timer's tick: good enough for how the sum is divided."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]), int(fields[12])
