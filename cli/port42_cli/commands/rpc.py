"""`port42 rpc METHOD …`, `socket-path`: direct access to the daemon, for scripts and experiments."""

from __future__ import annotations

import json
import sys
from contextlib import suppress
from typing import Any

import click

from port42_cli import streams
from port42_client.daemon import Daemon
from port42_client.errors import DaemonError
from port42_client.wire import JsonObject
from port42_protocol import paths


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("method")
@click.argument("params", nargs=-1, metavar="[JSON | KEY=VALUE …]")
@click.pass_context
def rpc(ctx: click.Context, method: str, params: tuple[str, ...]) -> None:
    """Call a method and print its result as JSON.

    `port42 rpc rpc.discover` describes the methods.

    PARAMS is one JSON object or array, or KEY=VALUE pairs: a value that a text parameter takes is
    sent as it is, any other is read as JSON. An error is printed as JSON on stderr, exit code 1.
    """
    given = _params(method, params)
    daemon: Daemon = ctx.obj
    with daemon.client() as client:
        try:
            streams.as_json(client.ask(method, given))
        except DaemonError as error:
            shown = {"code": error.code, "message": error.message, "data": error.data}
            streams.as_json(shown, to=sys.stderr)
            ctx.exit(error.exit_code)


def _params(method: str, words: tuple[str, ...]) -> JsonObject | list[Any] | None:
    if not words:
        return None
    if len(words) == 1 and words[0].lstrip().startswith(("{", "[")):
        try:
            whole: JsonObject | list[Any] = json.loads(words[0])
        except (ValueError, RecursionError) as error:
            raise click.UsageError(f"PARAMS: expected JSON: {error}") from None
        return whole
    named: JsonObject = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not (key and equals):
            raise click.UsageError(
                f"PARAMS: expected one JSON object or array, or KEY=VALUE pairs, got {word!r}"
            )
        if key in named:
            raise click.UsageError(f"PARAMS: {key} is given twice")
        named[key] = _value(method, key, value)
    return named


def _value(method: str, key: str, text: str) -> Any:
    """`text` where the parameter takes it as text; else what it is as JSON; else text again."""
    from typing import get_type_hints

    import msgspec

    from port42_protocol.methods import METHODS

    hints = get_type_hints(METHODS[method].params, include_extras=True) if method in METHODS else {}
    if key in hints:
        with suppress(msgspec.ValidationError):
            return msgspec.convert(text, hints[key])
    with suppress(ValueError, RecursionError):
        return json.loads(text)
    return text


@click.command("socket-path")
@click.option("--read", "reading", is_flag=True, help="The one for reading, which changes nothing.")
@click.pass_obj
def socket_path(daemon: Daemon, reading: bool) -> None:
    """Print the path of the daemon's socket.

    Does not start the daemon.
    """
    path = daemon.address()
    if connection := daemon.find():
        with connection:
            path = connection.getpeername()
    streams.lines([paths.read_socket(path) if reading else path])
