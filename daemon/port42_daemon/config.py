"""`config.toml`: validated when read, written with its comments kept; an invalid version is never used."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Meta

from port42_daemon import durable
from port42_protocol.codec import expectation
from port42_protocol.errors import ConfigRefused
from port42_protocol.hosts import ADDRESS_EXPECTED, HostConfig, ssh_address
from port42_protocol.messages.types import NAME_PATTERN, AgentName, Folder, prepared

if TYPE_CHECKING:
    from tomlkit import TOMLDocument

BackendName = Annotated[
    str,
    Meta(
        pattern=rf"^{NAME_PATTERN}$(?!\n)",
        description="the name of a back end: letters, digits, '.', '_', '-'",
    ),
]
Argv = Annotated[
    list[Annotated[str, Meta(min_length=1)]],
    Meta(min_length=1, description="a list of words, the program first"),
]
Variable = Annotated[
    str, Meta(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$(?!\n)", description="the name of an environment variable")
]
Seconds = Annotated[float, Meta(gt=0, le=86_400, description="seconds, above 0 and at most 86,400")]
ContextChars = Annotated[int, Meta(ge=1000, description="a whole number from 1,000")]
KeyringEntry = Annotated[
    str, Meta(pattern=r"^[^\x00-\x1f\x7f]+$(?!\n)", description="the name of an entry in the keyring")
]
Model = Annotated[str, Meta(min_length=1, description="a model's name")]
HttpUrl = Annotated[
    str, Meta(pattern=r"^https?://[^\s]+$", description="an address that begins with http:// or https://")
]
Permissions = Literal["deny", "ask", "read-only", "allow"]


class _Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A table of the file; what it does not know is refused."""


class AgentConfig(_Table, frozen=True):
    """One ``[agents.NAME]``: persona, back end (by name), model and working folder."""

    system: str | None = None
    backend: BackendName | None = None
    model: Model | None = None
    cwd: Folder | None = None


class NoneBackend(_Table, frozen=True, tag_field="type", tag="none"):
    """Records only."""


class CommandBackend(_Table, frozen=True, tag_field="type", tag="command"):
    """Any program: the message on stdin, the reply on stdout.

    `command` is an argv, no shell; ``{system}``, ``{model}``, ``{native_id}`` and ``{cwd}`` in it are
    replaced, and an argument that only names something unset is left out with the flag before it.
    With history ``native`` the tool keeps the conversation: `command` begins it, `resume` goes on.
    `timeout` counts the seconds without any output.
    """

    command: Argv
    resume: Argv | None = None
    parser: Literal["text", "claude", "codex", "gemini"] = "text"
    history: Literal["none", "replay", "native"] = "none"
    env_pass: list[Variable] = []
    timeout: Seconds = 600
    context_chars: ContextChars = 400_000


class AcpBackend(_Table, frozen=True, tag_field="type", tag="acp"):
    """An agent that speaks the Agent Client Protocol v1 over stdio, kept warm for `idle_ttl` seconds."""

    command: Argv
    permissions: Permissions = "ask"
    env_pass: list[Variable] = []
    idle_ttl: Seconds = 600
    timeout: Seconds = 600
    context_chars: ContextChars = 400_000


class _Http(_Table, frozen=True):
    """Settings of both kinds of model server. At most one of the `api_key_` fields names the key.

    `timeout` counts the seconds without a byte; `retries` are made before the first one only.
    """

    model: Model
    api_key_env: Variable | None = None
    api_key_file: str | None = None
    api_key_keyring: KeyringEntry | None = None
    max_tokens: Annotated[int, Meta(ge=1, description="a whole number from 1")] | None = None
    timeout: Seconds = 120
    retries: Annotated[int, Meta(ge=0, le=10, description="a whole number from 0 to 10")] = 3
    context_chars: ContextChars = 400_000


class OpenAIBackend(_Http, frozen=True, tag_field="type", tag="openai", kw_only=True):
    """Chat Completions of any compatible server."""

    base_url: HttpUrl = "https://api.openai.com/v1"


class AnthropicBackend(_Http, frozen=True, tag_field="type", tag="anthropic", kw_only=True):
    """Anthropic's Messages."""

    base_url: HttpUrl = "https://api.anthropic.com"


class EchoBackend(_Table, frozen=True, tag_field="type", tag="echo"):
    """Repeats the message, a word at a time, each `pause` seconds after the one before it."""

    pause: Annotated[float, Meta(ge=0, le=60, description="seconds from 0 to 60")] = 0.02
    context_chars: ClassVar[int] = 400_000  # as others have by default: no notice says that it was given less


BackendConfig = NoneBackend | CommandBackend | AcpBackend | OpenAIBackend | AnthropicBackend | EchoBackend


class DaemonConfig(_Table, frozen=True):
    """``[daemon]``: limits, in force from the next start."""

    request_bytes: (
        Annotated[
            int,
            Meta(ge=4096, le=256 * 1024 * 1024, description="a whole number from 4,096 to 268,435,456"),
        ]
        | None
    ) = None
    connections: Annotated[int, Meta(ge=1, le=4096, description="a whole number from 1 to 4,096")] | None = (
        None
    )


Size = Annotated[
    int, Meta(ge=256, le=16 * 1024 * 1024, description="a whole number of bytes from 256 to 16,777,216")
]


class SessionsConfig(_Table, frozen=True):
    """``[sessions]``: how many bytes of a tool call's input and of its output are kept."""

    tool_input_bytes: Size = 16 * 1024
    tool_output_bytes: Size = 64 * 1024


class CapturedToolConfig(_Table, frozen=True):
    """One ``[capture.NAME]``: what the tool writes to `path` becomes sessions of `agent`.

    Those in one of the `folders`, or below it, are of the agent that is named there.
    """

    on: bool = True
    agent: AgentName | None = None
    path: Folder | None = None
    folders: dict[Folder, AgentName] = {}


class CaptureConfig(_Table, frozen=True):
    """``[capture]``: the tools whose sessions are captured, and whether their files are kept, too."""

    originals: bool = True
    claude: CapturedToolConfig | None = None
    codex: CapturedToolConfig | None = None
    gemini: CapturedToolConfig | None = None
    copilot: CapturedToolConfig | None = None
    pi: CapturedToolConfig | None = None
    opencode: CapturedToolConfig | None = None
    llm: CapturedToolConfig | None = None
    aichat: CapturedToolConfig | None = None
    aider: CapturedToolConfig | None = None


class HubConfig(_Table, frozen=True):
    """``[hub]``: the PostgreSQL where this machine's sessions meet those of others.

    One of `url` (``postgresql://…``) and `service` (of libpq's service file) says where. At most one of the
    `password_` fields names a password that is not there. `machine` is this machine's name, by default its
    host name. Sessions of `agents` and in `folders` (or below) are pushed, by default all; with `redact`
    known secrets are replaced before.
    """

    url: (
        Annotated[
            str,
            Meta(
                pattern=r"^postgres(ql)?://[^\s]+$", description="an address that begins with postgresql://"
            ),
        ]
        | None
    ) = None
    service: (
        Annotated[
            str, Meta(pattern=r"^[^\s\[\]]+$", description="the name of a service in libpq's service file")
        ]
        | None
    ) = None
    password_env: Variable | None = None
    password_file: str | None = None
    password_keyring: KeyringEntry | None = None
    machine: (
        Annotated[
            str,
            Meta(pattern=r"^[^\x00-\x1f\x7f]{1,64}$(?!\n)", description="a name of 1 to 64 characters"),
        ]
        | None
    ) = None
    agents: list[AgentName] | None = None
    folders: list[Folder] | None = None
    redact: bool = False
    on: bool = True


class Config(_Table, frozen=True):
    """The whole file. An empty one is valid."""

    agents: dict[AgentName, AgentConfig] = {}
    backends: dict[BackendName, BackendConfig] = {}
    daemon: DaemonConfig = DaemonConfig()
    sessions: SessionsConfig = SessionsConfig()
    capture: CaptureConfig = CaptureConfig()
    hub: HubConfig | None = None
    hosts: dict[AgentName, HostConfig] = {}
    """Of commands, which read them by themselves; here they are only checked."""


def parse(text: str) -> Config:
    """The configuration in `text`. Raises `ConfigRefused` with line, place and what was expected."""
    text = text.removeprefix("\ufeff")  # which some editors put before it
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigRefused(f"not TOML: {error}") from None
    except RecursionError:
        raise ConfigRefused("not TOML: nested too deep") from None
    # Table by table, because msgspec does not name the key of a dict it was in.
    kinds: dict[str, Any] = {"agents": AgentConfig, "backends": BackendConfig, "hosts": HostConfig}
    tables = {
        group: {
            name: _convert(text, (group, name), entry, kind)
            for name, entry in _convert(text, (group,), document.get(group, {}), dict[AgentName, Any]).items()
        }
        for group, kind in kinds.items()
    }
    config: Config = _convert(text, (), document | tables, Config)
    _check(text, config)
    return config


def _check(text: str, config: Config) -> None:
    """Checks across fields. Raises `ConfigRefused`."""
    for name, agent in config.agents.items():
        if agent.backend is not None and agent.backend not in (*config.backends, "none"):
            there = ", ".join(config.backends) or "none"
            what = f"there is no [backends.{agent.backend}] (there is {there})"
            raise _refused(text, ("agents", name, "backend"), what)
    for name, backend in config.backends.items():
        if isinstance(backend, CommandBackend) and (backend.history == "native") != bool(backend.resume):
            what = 'expected history = "native" and resume together'
            raise _refused(text, ("backends", name, "history"), what)
        if isinstance(backend, OpenAIBackend | AnthropicBackend):
            keys = [backend.api_key_env, backend.api_key_file, backend.api_key_keyring]
            if sum(key is not None for key in keys) > 1:
                what = "expected one of api_key_env, api_key_file and api_key_keyring"
                raise _refused(text, ("backends", name), what)
    for name, host in config.hosts.items():
        _check_host(text, name, host)
    if config.hub is not None:
        _check_hub(text, config.hub)


def _check_host(text: str, name: str, host: HostConfig) -> None:
    """Raises `ConfigRefused`."""
    if host.address is not None and host.command is not None:
        raise _refused(text, ("hosts", name), "expected one of address and command")
    if host.address is not None and ssh_address(host.address) is None:
        raise _refused(text, ("hosts", name, "address"), f"expected {ADDRESS_EXPECTED}")


def _check_hub(text: str, hub: HubConfig) -> None:
    """Raises `ConfigRefused`."""
    if (hub.url is None) == (hub.service is None):
        raise _refused(text, ("hub",), "expected either url or service")
    if hub.url is not None and holds_password(hub.url):
        what = "expected no password here: name it with password_env, password_file or password_keyring"
        raise _refused(text, ("hub", "url"), what)
    passwords = [hub.password_env, hub.password_file, hub.password_keyring]
    if sum(password is not None for password in passwords) > 1:
        what = "expected one of password_env, password_file and password_keyring"
        raise _refused(text, ("hub",), what)


def holds_password(url: str) -> bool:
    """Whether an address of PostgreSQL has a password in it, in either of the places that libpq knows."""
    # Imported here: most daemons have no hub.
    from urllib.parse import parse_qs, urlsplit

    try:
        address = urlsplit(url)
        return bool(address.password) or any(
            name in {"password", "sslpassword"} for name in parse_qs(address.query)
        )
    except ValueError:
        return False  # it is no address, as libpq will say


def _convert(text: str, path_in_file: tuple[str, ...], value: Any, kind: Any) -> Any:
    try:
        return msgspec.convert(value, prepared(kind), from_attributes=True)
    except msgspec.ValidationError as error:
        what, _, inside = str(error).partition(" - at ")
        if inside.startswith("`key`"):
            names = (
                "absolute paths"
                if "folders" in inside
                else "names of up to 64 letters, digits, '.', '_', '-'"
            )
            deeper = tuple(inside.partition("$.")[2].strip("`").split(".")) if "$." in inside else ()
            raise _refused(text, path_in_file + deeper, f"expected {names}") from None
        field = inside.strip("`$").strip(".").partition("[")[0]
        unknown = re.search(r"unknown field `([^`]*)`", what)
        deeper = (*filter(None, field.split(".")), *([unknown[1]] if unknown else []))
        if missing := re.search(r"missing required field `([^`]*)`", what):
            lacks = _expected(kind, value, (*deeper, missing[1]))
            what = f"expected {missing[1]}, too: {lacks}"
            raise _refused(text, path_in_file + deeper, what) from None
        expected = _expected(kind, value, deeper)
        expected = f"unknown, expected {expected}" if unknown else f"expected {expected}"
        raise _refused(text, path_in_file + deeper, expected) from None


def _expected(kind: Any, value: Any, path: tuple[str, ...]) -> str:
    """What is valid at `path` in a `kind`. The value is not repeated: it may be a secret."""
    if kind is BackendConfig:
        kinds = {backend.__struct_config__.tag: backend for backend in get_args(BackendConfig)}
        if not isinstance(value, dict):
            return "a table"
        kind = kinds.get(str(value.get("type")))
        if kind is None:
            return f"one of {', '.join(kinds)}"
    for name in path:
        kind = next((part for part in get_args(kind) if _is_table(part)), kind)  # without None
        if _is_table(kind):
            hints = get_type_hints(kind, include_extras=True)
            if name not in hints:
                return ", ".join(hints) or "type only"
            kind = hints[name]
        else:  # a table of anything
            kind = get_args(kind)[-1]
    options = [option for option in get_args(kind) if option is not type(None)]
    if get_origin(kind) is dict and options[-1] is not Any and not _is_table(options[-1]):
        return f"a table, each value {expectation(options[-1])}"
    if _is_table(kind) or get_origin(kind) is dict or any(map(_is_table, options)):
        return "a table"
    return expectation(kind)


def _is_table(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


def _refused(text: str, path_in_file: tuple[str, ...], what: str) -> ConfigRefused:
    named = ".".join(path_in_file) or "the file"
    line = _line_of(text, path_in_file)
    return ConfigRefused(f"line {line}: {named}: {what}" if line else f"{named}: {what}")


def _line_of(text: str, path_in_file: tuple[str, ...]) -> int | None:
    """The line on which the value there begins: neither of the parsers keeps lines."""
    lines = text.splitlines()
    named = [number for number, line in enumerate(lines) if path_in_file and path_in_file[-1] in line]
    for number in named[:_LINES_TRIED]:
        for end in range(number + 1, min(number + _LINES_TRIED, len(lines)) + 1):  # a value of several lines
            try:
                value: Any = tomllib.loads("\n".join(lines[:end]))
            except tomllib.TOMLDecodeError:
                continue
            for key in path_in_file:
                value = value.get(key) if isinstance(value, dict) else None
            if value is not None:
                return number + 1
            break
    return None


_LINES_TRIED = 50  # lines on which a name stands, and lines of a value: beyond them errors name no line
MAX_BYTES = 1024 * 1024  # of config.toml
_UNREAD = (-1, 0, 0)  # is no file's size


class ConfigFile:
    """The file and its last valid version, if it was `ever_good`. The methods block."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, int, int] | None = _UNREAD  # None: there is no file, which is valid
        self.current = Config()
        self.error: str | None = None
        self.ever_good = False

    def stale(self) -> bool:
        """Whether the file changed since it was read. One stat."""
        return self._signature() != self._seen

    def refresh(self, *, anew: bool = False) -> Config:
        signature = self._signature()
        if anew or signature != self._seen:
            try:
                self.current = parse(self._read())
                self.error, self.ever_good = None, True
            except ConfigRefused as refused:
                self.error = refused.message
            self._seen = signature
        return self.current

    def changed(self, change: Callable[[TOMLDocument], None]) -> bytes:
        """The file's bytes after `change`, comments and order kept.

        Raises `ConfigRefused` for a file that was bad before or would be after.
        """
        # Imported here: the file is rarely written, and the daemon's memory is always in use.
        import tomlkit

        text = self._read()
        parse(text)
        document = tomlkit.parse(text.removeprefix("\ufeff"))
        change(document)
        after = text[: text.startswith("\ufeff")] + tomlkit.dumps(document)
        parse(after)
        return after.encode()

    def _read(self) -> str:
        try:
            # Not read_text: it would turn a file's CRLF into LF when the file is written again.
            return durable.read_file(self._path, MAX_BYTES).decode()
        except FileNotFoundError:
            return ""
        except OSError as error:
            raise ConfigRefused(f"cannot be read: {error.strerror or error}") from None
        except UnicodeDecodeError as error:
            line = error.object[: error.start].count(b"\n") + 1
            raise ConfigRefused(f"not UTF-8 (at line {line})") from None

    def _signature(self) -> tuple[int, int, int] | None:
        try:
            value = self._path.stat()
        except OSError:
            return None
        return value.st_size, value.st_mtime_ns, value.st_ino


def table(document: TOMLDocument, group: str, name: str) -> Any:
    """``[group.name]``, made where it is missing; on one line where the group is on one line."""
    import tomlkit
    from tomlkit.items import InlineTable

    tables: Any = document.setdefault(group, tomlkit.table(is_super_table=True))
    made = tomlkit.inline_table() if isinstance(tables, InlineTable) else tomlkit.table()
    return tables.setdefault(name, made)


def take_out(document: TOMLDocument, tables: Any, name: str) -> None:
    """Remove ``tables.name``. The comments at its end stand before the next table, and stay."""
    from tomlkit.items import Comment, Table, Whitespace

    earlier = list(tables)[: list(tables).index(name)]
    taken, trailing = tables.pop(name), []
    for _, item in reversed(taken.value.body if isinstance(taken, Table) else []):
        if not isinstance(item, Comment | Whitespace):
            break
        trailing.append(item)
    if any(isinstance(item, Comment) for item in trailing):
        before = tables[earlier[-1]] if earlier else None
        holder = before if isinstance(before, Table) else document
        for item in reversed(trailing):
            holder.add(item)
