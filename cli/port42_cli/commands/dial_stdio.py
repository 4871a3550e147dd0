"""`port42 dial-stdio`: connects stdin and stdout to the daemon, for --host and for tools without sockets."""

from __future__ import annotations

import json
import os
import select
import socket
import sys
import threading
from contextlib import suppress
from functools import partial

import click

from port42_cli import streams
from port42_client.daemon import Daemon
from port42_client.errors import CommandError
from port42_protocol import paths

_PIECE = 256 * 1024


@click.command("dial-stdio")
@click.option("--no-start", is_flag=True, help="Start no daemon where none runs.")
@click.option("--read", "reading", is_flag=True, help="Connect to the socket for reading.")
@click.option("--home", metavar="PATH", help="Before PORT42_HOME and PORT42_SOCKET.")
@click.option("--protocol", type=int, metavar="N", help="Connect to a daemon of this protocol only.")
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="Notices and errors as JSON on stderr, a line each, and what was reached.",
)
@click.pass_context
def dial_stdio(  # noqa: PLR0913, PLR0917 - a parameter for each option
    ctx: click.Context, no_start: bool, reading: bool, home: str | None, protocol: int | None, as_json: bool
) -> None:
    """Connect stdin and stdout to the daemon.

    What is written to stdin reaches the daemon as through its socket, and what it answers comes on stdout,
    until either side hangs up. `port42 --host` runs this on the other machine; any tool that can start a
    program can use it.
    """
    daemon: Daemon = ctx.obj
    notice = partial(_tell, "notice") if as_json else daemon.notice
    if home is not None:
        environ = {name: value for name, value in os.environ.items() if name != "PORT42_SOCKET"}
        daemon = Daemon(None, environ | {"PORT42_HOME": os.path.expanduser(home)}, notice)  # noqa: PTH111 - no pathlib on this path
    daemon.notice = notice
    try:
        connection = _connected(daemon, no_start, reading)
    except CommandError as error:
        if not as_json:
            raise
        _tell("error", error.message, advice=error.advice)
        ctx.exit(error.exit_code)
    with connection:
        note = daemon.note()
        # The note speaks of the home's daemon; what was reached may be another one.
        its = () if note.socket is None else (note.socket, paths.read_socket(note.socket))
        known = daemon.host is None and connection.getpeername() in its
        version, spoken = (note.version, note.protocol_version) if known else (None, protocol)
        if as_json:
            _tell("reached", version=version, protocol_version=spoken)
        if protocol is not None and spoken != protocol:
            if not as_json:
                streams.banner(f"Error: the daemon speaks protocol version {spoken} and not {protocol}")
            ctx.exit(69)
        if sys.stdin.isatty():
            streams.notice("This speaks JSON-RPC on stdin and stdout, for programs; Ctrl-C ends it.")
        _relay(connection)


def _connected(daemon: Daemon, no_start: bool, reading: bool) -> socket.socket:
    if reading:
        return daemon.connect_for_reading()
    return daemon.existing() if no_start else daemon.connect()


def _tell(kind: str, text: str | None = None, **more: object) -> None:
    told = {"port42": kind} | ({} if text is None else {"text": text}) | more
    print(json.dumps(told), file=sys.stderr, flush=True)


def _relay(connection: socket.socket) -> None:
    """Pass on what comes on stdin, and what the daemon sends, until it or the reader of stdout hangs up."""
    threading.Thread(target=_send, args=(connection,), daemon=True).start()
    poll = select.poll()
    poll.register(connection, select.POLLIN)
    poll.register(1, 0)  # only errors: that nobody reads any more
    while True:
        if any(descriptor == 1 for descriptor, _ in poll.poll()):
            return
        if not (data := connection.recv(_PIECE)):
            return
        with memoryview(data) as view:
            written = 0
            while written < len(view):
                try:
                    written += os.write(1, view[written:])
                except BlockingIOError:  # whoever shares the pipe made it non-blocking
                    select.select([], [1], [])
                except BrokenPipeError:
                    return


def _send(connection: socket.socket) -> None:
    with suppress(OSError):  # the daemon hung up: its side tells
        while True:
            try:
                data = os.read(0, _PIECE)
            except BlockingIOError:
                select.select([0], [], [])
                continue
            if not data:
                break
            connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
