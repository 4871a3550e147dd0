"""Notifications to the supervisor, systemd: readiness, status and watchdog (sd_notify(3))."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping

log = logging.getLogger(__name__)

_STATUS_SECONDS = 1.0
"""Between two status lines, at least."""


class Supervisor:
    """Sends notifications; does nothing without a supervisor.

    Removes its variables from `environ`, so that child processes do not notify in the daemon's name.
    """

    def __init__(self, environ: MutableMapping[str, str]) -> None:
        self._socket = _connected(environ.pop("NOTIFY_SOCKET", ""))
        self.patience = _patience(environ.pop("WATCHDOG_USEC", ""), environ.pop("WATCHDOG_PID", ""))
        """The watchdog's timeout in seconds; None without a watchdog."""
        self._changed = asyncio.Event()

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    async def tell(self, *assignments: str) -> None:
        """Send assignments such as ``READY=1`` in one datagram."""
        if self._socket is not None:
            with contextlib.suppress(OSError):  # the supervisor may be gone
                await asyncio.get_running_loop().sock_sendall(self._socket, "\n".join(assignments).encode())

    def changed(self) -> None:
        """The status line may have changed."""
        self._changed.set()

    @contextlib.asynccontextmanager
    async def watching(
        self, answers: Callable[[], Awaitable[object]], status: Callable[[], Awaitable[str]]
    ) -> AsyncIterator[None]:
        """Pings the watchdog after each return of `answers`, and sends changes of `status`."""
        tasks = []
        if self._socket is not None:
            tasks.append(asyncio.create_task(self._keep_status(status)))
            if self.patience is not None:
                tasks.append(asyncio.create_task(self._keep_alive(answers, self.patience / 2)))
        for task in tasks:
            task.add_done_callback(_say_if_failed)
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _keep_alive(self, answers: Callable[[], Awaitable[object]], pause: float) -> None:
        while True:
            await answers()
            await self.tell("WATCHDOG=1")
            await asyncio.sleep(pause)

    async def _keep_status(self, status: Callable[[], Awaitable[str]]) -> None:
        sent = ""
        while True:
            self._changed.clear()
            if (now := await status()) != sent:
                await self.tell(f"STATUS={now}")
                sent = now
            await asyncio.sleep(_STATUS_SECONDS)
            await self._changed.wait()


def _say_if_failed(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("notifications to the supervisor stopped", exc_info=error)


def _connected(address: str) -> socket.socket | None:
    """A socket to the supervisor: a path, or ``@`` and a name in Linux's abstract space."""
    if not address.startswith(("/", "@")):
        return None
    channel = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        channel.connect(f"\0{address[1:]}" if address[0] == "@" else address)
    except (OSError, ValueError):
        channel.close()
        return None
    channel.setblocking(False)
    return channel


def _patience(microseconds: str, pid: str) -> float | None:
    """sd_watchdog_enabled(3): WATCHDOG_PID, where it is given, says who is meant."""
    if pid not in {"", str(os.getpid())} or not (microseconds.isascii() and microseconds.isdigit()):
        return None
    return int(microseconds) / 1_000_000 or None
