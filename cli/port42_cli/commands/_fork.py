"""What `fork` and `rewind` share: the fork made, and said with what goes on with it."""

from __future__ import annotations

from typing import Any

from port42_cli import plain_text, streams
from port42_cli.conversation.send import CLIENT, announce
from port42_cli.cwd import sendable
from port42_client.client import Client


def fork(client: Client, asked: dict[str, Any], *, as_json: bool) -> None:
    """Make the fork that is `asked` for, with the options that were given. Raises `DaemonError`."""
    given = {name: value for name, value in asked.items() if value is not None}
    made = client.ask("fork_session", {**given, "client": CLIENT, "cwd": sendable()})
    if as_json:
        streams.as_json(made)
        return
    announce(made["session_id"])
    streams.banner(plain_text.to_go_on(made["agent"], made["session_id"]))
