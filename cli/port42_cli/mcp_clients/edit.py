"""A client's configuration with Port42 in it, or without: planned as a text, written whole, with a copy."""

from __future__ import annotations

import json
import re
import stat
from datetime import datetime
from pathlib import Path
from typing import Any

from port42_cli.mcp_clients.known import NAME, Entry, McpClient, Server
from port42_cli.service.files import Change, replace
from port42_client.errors import Refused

_BYTES = 16 * 1024 * 1024
"""Of a configuration; Claude Code keeps its history in the same file."""


def planned(client: McpClient, path: Path, server: Server | None) -> Change:
    """The change that makes `server` the client's ``port42``, or removes that. Raises `Refused`.

    A link is followed: people keep such files elsewhere. Everything else in the file stays.
    """
    path = path.resolve()
    before = _read(path)
    entry = None if server is None else client.entry(server)
    if entry is None and before is None:
        return Change(path, None, None)
    edited = _toml if client.format == "toml" else _json
    try:
        return Change(path, before, edited(before or "", client.section, entry))
    except ValueError as error:
        raise Refused(
            f"{path} cannot be changed by a program: {error}",
            *([] if entry is None else _by_hand(client, entry)),
        ) from None


def write(change: Change, now: datetime) -> Path | None:
    """Carry it out; gives the copy of what was there. Raises `Refused`, with the file as it was."""
    path = change.path
    try:
        if _read(path) != change.before:
            raise Refused(f"{path} was changed meanwhile; nothing was written")
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        backup = None
        mode = 0o600
        if change.before is not None:
            mode = stat.S_IMODE(path.stat().st_mode)
            backup = path.with_name(f"{path.name}.{now:%Y%m%dT%H%M%S}-before-port42")
            replace(backup, change.before.encode(), mode)
        replace(path, (change.after or "").encode(), mode)
    except OSError as error:
        raise Refused(f"cannot write {path}: {error.strerror or error}; nothing was changed") from None
    return backup


def _read(path: Path) -> str | None:
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise Refused(f"{path} is not a file")
        if path.stat().st_size > _BYTES:
            raise Refused(f"{path} has more than {_BYTES:,} bytes")
        return path.read_bytes().decode()
    except FileNotFoundError:
        return None
    except UnicodeDecodeError:
        raise Refused(f"{path} is not UTF-8 text") from None
    except OSError as error:
        raise Refused(f"cannot read {path}: {error.strerror or error}") from None


def _json(text: str, section: str, entry: Entry | None) -> str:
    """Raises ValueError for what is no JSON, such as JSON with comments, which would be lost."""
    try:
        whole = json.loads(text) if text.strip() else {}
    except (ValueError, RecursionError):
        raise ValueError("it is not plain JSON; comments and trailing commas are not") from None
    _put(whole, section, entry)
    indent = re.search(r"\n([ \t]+)", text)
    step = indent[1] if indent else 2
    written = json.dumps(whole, ensure_ascii=False, indent=step)
    if not written.isascii() and re.search(r"[\ud800-\udfff]", written):  # only an escape can say it
        written = json.dumps(whole, indent=step)
    return written + ("\n" if text.endswith("\n") or not text else "")


def _toml(text: str, section: str, entry: Entry | None) -> str:
    """Comments and the order of tables stay."""
    import tomlkit
    from tomlkit.exceptions import TOMLKitError

    try:
        document = tomlkit.parse(text)
    except TOMLKitError as error:
        raise ValueError(f"it is not TOML: {error}") from None
    if entry is not None and section not in document:
        document[section] = tomlkit.table(is_super_table=True)
    _put(document, section, entry)
    return tomlkit.dumps(document)


def _put(whole: Any, section: str, entry: Entry | None) -> None:
    if not isinstance(whole, dict):
        raise ValueError("expected an object")
    servers = whole.get(section, {})
    if not isinstance(servers, dict):
        raise ValueError(f"{section}: expected an object with a key for each server")
    if entry is not None:
        if servers.get(NAME) != entry:
            servers[NAME] = entry
            if section not in whole:
                whole[section] = servers
    elif NAME in servers:
        del servers[NAME]


def _by_hand(client: McpClient, entry: Entry) -> list[str]:
    if client.format == "toml":
        text = _toml("", client.section, entry)
    else:
        text = json.dumps({client.section: {NAME: entry}}, ensure_ascii=False, indent=2)
    return ["  Add this to it:", *(f"    {line}" for line in text.splitlines())]
