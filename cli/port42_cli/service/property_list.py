"""launchd's property list as text: the shipped one with the paths of one installation. Pure."""

from __future__ import annotations

import plistlib
from typing import Any
from xml.parsers.expat import ExpatError

from port42_cli.service.supervisor import MARK, Place
from port42_protocol import paths


def render(template: str, place: Place) -> str:
    """``dev.port42.daemon.plist`` for `place`: every path in it absolute, for launchd expands none."""
    agent: dict[str, Any] = plistlib.loads(template.encode())
    agent["ProgramArguments"] = [*place.program, "--log-file", str(paths.log_file(place.home))]
    agent["EnvironmentVariables"] = {**agent.get("EnvironmentVariables", {}), "PATH": place.search_path}
    for socket in agent.get("Sockets", {}).values():
        socket["SockPathName"] = place.address
    for stream in ("StandardOutPath", "StandardErrorPath"):
        if stream in agent:
            agent[stream] = str(paths.log_file(place.home))
    text = plistlib.dumps(agent).decode()
    return text.replace("<plist", f"<!-- {MARK}, which replaces it. -->\n<plist", 1)


def program(text: str) -> str | None:
    """The argv in a property list, separated by spaces; None when there is none to be read."""
    argv = _read(text).get("ProgramArguments")
    return " ".join(map(str, argv)) if isinstance(argv, list) else None


def listens_at(text: str) -> str | None:
    """The address in a property list; None when there is none to be read."""
    sockets = _read(text).get("Sockets")
    for socket in sockets.values() if isinstance(sockets, dict) else ():
        if isinstance(socket, dict) and isinstance(address := socket.get("SockPathName"), str):
            return address
    return None


def _read(text: str) -> dict[str, Any]:
    """Nothing where it is not a property list: people edit them."""
    try:
        agent = plistlib.loads(text.encode())
    except (plistlib.InvalidFileException, ExpatError, ValueError):
        return {}
    return agent if isinstance(agent, dict) else {}
