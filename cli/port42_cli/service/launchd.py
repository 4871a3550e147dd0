"""launchd's agent of this user: a property list in its folder, commands through launchctl.

Written from Apple's documentation (launchctl(1), launchd.plist(5)); it has not been run on a Mac.
"""

from __future__ import annotations

import os
import plistlib
import re
import shutil
from collections.abc import Collection
from pathlib import Path
from typing import Any
from xml.parsers.expat import ExpatError

from port42_cli.service.files import shipped_text
from port42_cli.service.supervisor import MARK, Condition, ServiceTarget, missing_keys, run_tool
from port42_client.errors import Refused
from port42_protocol import paths

LABEL = "dev.port42.daemon"


class Launchd:
    """The agent ``dev.port42.daemon`` in this user's graphical session."""

    name = "launchd"

    def __init__(self) -> None:
        self.paths: tuple[Path, ...] = (Path.home() / "Library" / "LaunchAgents" / f"{LABEL}.plist",)
        self._domain = f"gui/{os.geteuid()}"
        self._target = f"{self._domain}/{LABEL}"

    def missing(self) -> tuple[str, ...]:
        if shutil.which("launchctl") is None:
            return ("launchctl is not here", "Every command starts the daemon by itself.")
        if run_tool("launchctl", "print", self._domain, check=False).returncode:
            why = "this looks like ssh or sudo without a login at the screen"
            what_to_do = "Log in there, or do nothing: every command starts the daemon by itself."
            return (f"launchd has no session {self._domain}: {why}", what_to_do)
        return ()

    def files(self, target: ServiceTarget) -> dict[Path, str]:
        return {self.paths[0]: render(shipped_text("launchd", self.paths[0].name), target)}

    def start(self, changed: Collection[Path], *, anew: bool) -> None:
        if anew or changed:
            self.release()
        if not self._print():
            if address := listens_at(self._text()):
                # launchd makes the socket, and no folder for it.
                Path(address).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            run_tool("launchctl", "enable", self._target)
            run_tool("launchctl", "bootstrap", self._domain, str(self.paths[0]))
        run_tool("launchctl", "kickstart", self._target)

    def stop(self) -> None:
        run_tool("launchctl", "kill", "SIGTERM", self._target)

    def restart(self) -> None:
        run_tool("launchctl", "kickstart", "-k", self._target)

    def release(self) -> None:
        if self._print():
            run_tool("launchctl", "bootout", self._target)

    disable = release  # what starts it at a login is the file itself

    def forget(self) -> None:
        """Nothing: bootout has forgotten it."""

    def pid(self) -> int | None:
        return _pid(self._print()) if self.paths[0].exists() else None

    def serves(self, address: str) -> bool:
        return listens_at(self._text()) == address and not self.missing() and bool(self._print())

    def condition(self) -> Condition:
        # `launchctl print` is meant for people, and may change.
        printed = self._print()
        number = _pid(printed)
        code = re.search(r"^\s*last exit code = (-?[1-9]\d*)", printed, flags=re.MULTILINE)
        return Condition(
            enabled=bool(printed),
            listening=bool(printed),
            running=number is not None,
            pid=number,
            since=None,
            program=program(self._text()),
            failed=f"last exit code {code[1]}" if code and number is None else None,
            watchdog=None,
            linger=None,
        )

    def notices(self) -> list[str]:
        return missing_keys(())  # launchd's environment has none of a shell's keys

    def log_command(self, lines: int, *, follow: bool) -> list[str] | None:  # noqa: ARG002 - as systemd's
        return None

    def _text(self) -> str:
        try:
            return self.paths[0].read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            return ""

    def _print(self) -> str:
        """What launchctl says of the agent; empty when it is not loaded."""
        if shutil.which("launchctl") is None:
            raise Refused("launchctl is not here")
        done = run_tool("launchctl", "print", self._target, check=False)
        return done.stdout if done.returncode == 0 else ""


def _pid(printed: str) -> int | None:
    match = re.search(r"^\s*pid = (\d+)", printed, flags=re.MULTILINE)
    return int(match[1]) if match else None


def render(template: str, target: ServiceTarget) -> str:
    """``dev.port42.daemon.plist`` for `target`: every path in it absolute, for launchd expands none."""
    agent: dict[str, Any] = plistlib.loads(template.encode())
    agent["ProgramArguments"] = [*target.program, "--log-file", str(paths.log_file(target.home))]
    agent["EnvironmentVariables"] = {**agent.get("EnvironmentVariables", {}), "PATH": target.search_path}
    for socket in agent.get("Sockets", {}).values():
        socket["SockPathName"] = target.address
    for stream in ("StandardOutPath", "StandardErrorPath"):
        if stream in agent:
            agent[stream] = str(paths.log_file(target.home))
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


def _read(text: str) -> dict[str, object]:
    """Nothing where it is not a property list: people edit them."""
    try:
        agent = plistlib.loads(text.encode())
    except (plistlib.InvalidFileException, ExpatError, ValueError):
        return {}
    return agent if isinstance(agent, dict) else {}
