"""`config.toml`: read strictly, written with its comments kept; a bad one never comes into force."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from port42_protocol.errors import ConfigRefused
from port42_protocol.messages import AgentName


class AgentConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One ``[agents.NAME]``: `system` is the persona."""

    system: str | None = None


class DaemonConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``[daemon]``: limits, in force from the next start."""

    request_bytes: Annotated[int, Meta(ge=4096, le=256 * 1024 * 1024)] | None = None
    connections: Annotated[int, Meta(ge=1, le=4096)] | None = None


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole file. An empty one is a good one."""

    agents: dict[AgentName, AgentConfig] = {}
    daemon: DaemonConfig = DaemonConfig()


def parse(text: str) -> Config:
    """The configuration in `text`. Raises `ConfigRefused` with the place and what was expected."""
    try:
        return msgspec.convert(tomllib.loads(text), Config)
    except tomllib.TOMLDecodeError as error:
        raise ConfigRefused(f"not TOML: {error}") from None
    except RecursionError:
        raise ConfigRefused("not TOML: nested too deep") from None
    except msgspec.ValidationError as error:
        what, _, place = str(error).partition(" - at ")
        raise ConfigRefused(f"{place.strip('`').removeprefix('$.') or 'top'}: {what}") from None


class ConfigFile:
    """The file and what of it is in force: the last good state. Its methods block."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, int] | None = None
        self.current = Config()
        self.error: str | None = None

    def stale(self) -> bool:
        """Whether the file changed since it was read. One stat."""
        return self._signature() != self._seen

    def refresh(self) -> Config:
        """What is in force, read anew when the file changed. A bad file is noted in `error`."""
        signature = self._signature()
        if signature != self._seen:
            try:
                self.current = parse(self._read())
                self.error = None
            except ConfigRefused as refused:
                self.error = refused.message
            self._seen = signature
        return self.current

    def with_agent(self, name: str, system: str | None) -> bytes:
        """The file's bytes with ``[agents.NAME]`` added. Raises `ConfigRefused` for a bad file."""
        # Imported here: adding an agent is rare, and the daemon's memory is not.
        import tomlkit
        from tomlkit.items import InlineTable

        text = self._read()
        parse(text)
        document = tomlkit.parse(text)
        agents = document.setdefault("agents", tomlkit.table(is_super_table=True))
        # ``agents = {…}`` on one line takes its entries on that line.
        entry = tomlkit.inline_table() if isinstance(agents, InlineTable) else tomlkit.table()
        if system is not None:
            entry["system"] = system
        agents[name] = entry
        added = tomlkit.dumps(document)
        parse(added)
        return added.encode()

    def _read(self) -> str:
        try:
            # Not read_text: it would turn a file's CRLF into LF when the file is written again.
            return self._path.read_bytes().decode()
        except FileNotFoundError:
            return ""
        except OSError as error:
            raise ConfigRefused(f"cannot be read: {error.strerror}") from None
        except UnicodeDecodeError as error:
            line = error.object[: error.start].count(b"\n") + 1
            raise ConfigRefused(f"not UTF-8 (at line {line})") from None

    def _signature(self) -> tuple[int, int] | None:
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_size, found.st_mtime_ns
