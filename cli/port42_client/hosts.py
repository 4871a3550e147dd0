"""What ``--host`` means: a ``[hosts.NAME]`` of config.toml, or an address as ssh takes it."""

from __future__ import annotations

import os
from typing import NamedTuple

from port42_client.errors import BadInput
from port42_protocol.hosts import ADDRESS_EXPECTED, HostConfig, SshAddress, ssh_address

_MAX_BYTES = 1024 * 1024  # of config.toml, as the daemon reads it


class Host(NamedTuple):
    """A machine, by the name that was typed. `address` is None where `config` has a command."""

    name: str
    address: SshAddress | None
    config: HostConfig


def host(name: str, home: str) -> Host:
    """The machine that `name` means to who has that `home`. Raises `BadInput`."""
    configured = _hosts(home)
    config = HostConfig() if name not in configured else _config(name, configured[name])
    if config.command is not None:
        if config.address is not None:
            raise BadInput(f"config.toml: hosts.{name}: expected one of address and command")
        if config.command[-1] == "dial-stdio":
            raise BadInput(
                f"config.toml: hosts.{name}.command: expected what runs a command there, without `port42"
                " dial-stdio`, which is added"
            )
        return Host(name, None, config)
    if (address := ssh_address(config.address or name)) is None:
        if config.address is not None:
            raise BadInput(
                f"config.toml: hosts.{name}.address: expected {ADDRESS_EXPECTED}, got {config.address!r}"
            )
        known = f" or one of config.toml: {', '.join(sorted(configured))}" if configured else ""
        raise BadInput(f"--host: expected {ADDRESS_EXPECTED}{known}, got {name!r}")
    return Host(name, address, config)


def names(home: str) -> list[str]:
    """The names in config.toml. Raises `BadInput`."""
    return sorted(_hosts(home))


def _hosts(home: str) -> dict[str, object]:
    import tomllib

    try:
        # A pipe in its place must not block this command.
        file = os.open(os.path.join(home, "config.toml"), os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with os.fdopen(file, "rb") as opened:
            text = opened.read(_MAX_BYTES).decode()
        hosts = tomllib.loads(text.removeprefix("\ufeff")).get("hosts", {})
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise BadInput(f"config.toml cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        why = str(error) if isinstance(error, tomllib.TOMLDecodeError) else "expected UTF-8"
        raise BadInput(f"config.toml: not TOML: {why}") from None
    if not isinstance(hosts, dict):
        raise BadInput("config.toml: hosts: expected tables, [hosts.NAME]")
    return hosts


def _config(name: str, table: object) -> HostConfig:
    import msgspec

    try:
        return msgspec.convert(table, HostConfig)
    except msgspec.ValidationError as error:
        what, _, field = str(error).partition(" - at `$")
        expected = f" (expected {', '.join(HostConfig.__struct_fields__)})" * ("unknown field" in what)
        raise BadInput(f"config.toml: hosts.{name}{field.rstrip('`')}: {what}{expected}") from None
