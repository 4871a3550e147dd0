"""Other machines: what ``--host`` may name, and ``[hosts.NAME]`` of config.toml."""

from __future__ import annotations

import re
from typing import Annotated, NamedTuple

from msgspec import Meta, Struct

Word = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=4096,
        pattern=r"^[^\x00\n]*$(?!\n)",
        description="text of 1 to 4,096 characters, in one line",
    ),
]
_ARGV = "a list of words, the program first"

ADDRESS_EXPECTED = "HOST, USER@HOST or ssh://USER@HOST:PORT, of letters, digits, '.', '_', '-'"

_ADDRESS = re.compile(
    r"(?:ssh://)?"
    r"(?:(?P<user>[A-Za-z0-9_][A-Za-z0-9_.+-]{0,63})@)?"
    r"(?P<host>[A-Za-z0-9_][A-Za-z0-9_.-]{0,252}|\[[0-9A-Fa-f:.]{2,45}(?:%[A-Za-z0-9_.-]{1,32})?\])"
    r"(?::(?P<port>[0-9]{1,5}))?"
    r"/?",
    re.ASCII,
)


class HostConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """One ``[hosts.NAME]``: how the daemon of another machine is reached.

    `address` is what ssh connects to, NAME without it. `command` is an argv that is run here instead of ssh;
    the words of the command that is to run there follow it. `program` is the path of ``port42`` there, and
    `home` its ``PORT42_HOME``.
    """

    address: str | None = None
    command: Annotated[list[Word], Meta(min_length=1, description=_ARGV)] | None = None
    program: Word = "port42"
    home: Word | None = None


class SshAddress(NamedTuple):
    """Where ssh connects to. What is None is left to the person's ssh_config."""

    host: str
    user: str | None = None
    port: int | None = None


def ssh_address(text: str) -> SshAddress | None:
    """`text` taken apart; None where it is no address.

    Only characters that mean nothing to a shell are allowed, and none that would make it an option of ssh:
    ssh_config may put the name into a command line (``ProxyCommand``, CVE-2023-51385).
    """
    if (match := _ADDRESS.fullmatch(text)) is None:
        return None
    port = None if match["port"] is None else int(match["port"])
    if port is not None and not 0 < port < 65536:
        return None
    return SshAddress(match["host"].strip("[]"), match["user"], port)
