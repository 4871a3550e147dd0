"""The text of turns on its way through PostgreSQL: notifications, against a table that is asked all the time.

One machine sends, another one of its owner reads; the others are of other owners, and only wait.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable

import psycopg

from benchmarks.figure import Figure, percentile

PIECE = "x" * 400
EVERY = 0.05
"""Seconds between two pieces."""
ASK_EVERY = 0.2
"""Seconds between two questions of a machine, which has an answer 0.1 s late on average."""

Cpu = Callable[[], float]


def figures(url: str, cpu: Cpu, machines: int, seconds: float) -> list[Figure]:
    """`cpu` gives the seconds that the server has used."""
    return [
        figure
        for name, work in (("NOTIFY", _notify), ("an unlogged table", _table))
        for figure in _measured(name, asyncio.run(_run(work, url, cpu, machines, seconds)), machines)
    ]


def _measured(name: str, result: tuple[list[int], float], machines: int) -> list[Figure]:
    samples, used = result
    group = f"a turn's text to one of {machines} machines, {1 / EVERY:.0f} pieces a second, by {name}"
    return [
        Figure(group, "until it is there, 50 of 100", percentile(samples, 50) / 1000, "ms"),
        Figure(group, "until it is there, 95 of 100", percentile(samples, 95) / 1000, "ms"),
        Figure(group, "CPU of PostgreSQL, of one core", 100 * used, "%"),
    ]


async def _run(
    work: Callable[..., object], url: str, cpu: Cpu, machines: int, seconds: float
) -> tuple[list[int], float]:
    """Nanoseconds of each piece, and the share of a core that the server used."""
    samples: list[int] = []
    connections = [await psycopg.AsyncConnection.connect(url, autocommit=True) for _ in range(machines + 1)]
    sender, *others = connections
    await sender.execute("CREATE UNLOGGED TABLE IF NOT EXISTS live (owner int, at bigint, text text)")
    await sender.execute("CREATE INDEX IF NOT EXISTS live_by_owner ON live (owner, at)")
    tasks = [
        asyncio.create_task(work(connection, number, samples))  # type: ignore[arg-type]  # a coroutine function
        for number, connection in enumerate(others)
    ]
    await asyncio.sleep(1)
    before, began = cpu(), time.monotonic()
    while time.monotonic() - began < seconds:
        await asyncio.sleep(EVERY)
        now = time.monotonic_ns()
        if work is _notify:
            await sender.execute("SELECT pg_notify('live0', %s)", (f"{now} {PIECE}",))
        else:
            await sender.execute("INSERT INTO live VALUES (0, %s, %s)", (now, PIECE))
    used = (cpu() - before) / (time.monotonic() - began)
    await asyncio.sleep(1)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await sender.execute("DROP TABLE live")
    for connection in connections:
        with contextlib.suppress(psycopg.Error):
            await connection.close()
    return samples, used


async def _notify(connection: psycopg.AsyncConnection[tuple[str]], number: int, samples: list[int]) -> None:
    await connection.execute(f"LISTEN live{number}")
    async for notice in connection.notifies():
        samples.append(time.monotonic_ns() - int(notice.payload.partition(" ")[0]))  # noqa: PERF401  # for good


async def _table(
    connection: psycopg.AsyncConnection[tuple[int, str]], number: int, samples: list[int]
) -> None:
    seen = 0
    while True:
        await asyncio.sleep(ASK_EVERY)
        cursor = await connection.execute(
            "SELECT at, text FROM live WHERE owner = %s AND at > %s ORDER BY at", (number, seen)
        )
        for at, _ in await cursor.fetchall():
            samples.append(time.monotonic_ns() - at)
            seen = at
