"""Meeting a daemon of another version: gone on with, replaced by this version's, or refused.

Only a strictly newer command replaces a daemon, and only one that a command had started by itself: two
installed versions never take turns at one home, and what a person or a service started stays theirs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from port42_cli import streams
from port42_client import stop
from port42_client import version as skew
from port42_client.errors import NoDaemon
from port42_protocol import PROTOCOL_VERSION
from port42_protocol.version import __version__

if TYPE_CHECKING:
    import socket

    from port42_client.daemon import Daemon

FIRST_PROTOCOL = 1
"""What a daemon speaks whose note does not say."""


def meet(
    daemon: Daemon, connection: socket.socket, noted: dict[str, Any], *, may_start: bool
) -> socket.socket:
    """A connection to go on with: `connection`, or one to the daemon that replaced what it led to.

    `noted` is what the home's note says of the daemon. Raises `NoDaemon` when it speaks another protocol
    and is not older.
    """
    version = str(noted["version"])
    protocol = noted.get("protocol_version", FIRST_PROTOCOL)
    behind = skew.compared(version) == "older"
    if behind and may_start and noted.get("started_by") == "autostart":
        return _replaced(daemon, connection, noted)
    told = f"{skew.told_apart(version)}: {skew.remedy(version, noted.get('started_by'))}"
    if protocol != PROTOCOL_VERSION and not behind:
        connection.close()
        raise NoDaemon(f"{told}, which speaks version {PROTOCOL_VERSION} of the protocol and not {protocol}")
    if behind:
        streams.notice(told)
    return connection


def _replaced(daemon: Daemon, connection: socket.socket, noted: dict[str, Any]) -> socket.socket:
    """A connection to this version's daemon, put in the place of an idle older one; else `connection`.

    Others that ask meanwhile wait for the start lock, or are told that the old one is stopping and ask again.
    """
    with daemon.start_lock():
        still_there = daemon.noted() == noted
        if still_there and (said := stop.running(daemon)):
            another = (said["pid"], said["version"]) != (noted.get("pid"), noted["version"])
            if another or said["turns"]:
                _say_if_unlike(noted)
                return connection
            connection.close()
            stop.stop(said)
            daemon.spawn("autostart", noted["socket"])
            streams.banner(f"port42d {said['version']} → {__version__}")
            return daemon.existing()
    # Somebody else was quicker, or it went by itself: this time it is another daemon that is met.
    connection.close()
    return daemon.connect()


def _say_if_unlike(noted: dict[str, Any]) -> None:
    if noted.get("protocol_version", FIRST_PROTOCOL) != PROTOCOL_VERSION:
        told = skew.told_apart(str(noted["version"]))
        streams.notice(f"{told} and has a turn under way: it is replaced when it has none")
