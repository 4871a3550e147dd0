"""systemd's manager of this user: units in its folder, commands through systemctl."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Collection
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from port42_cli.service import surroundings, unit
from port42_cli.service.files import shipped_text
from port42_cli.service.supervisor import Condition, ServiceTarget, missing_keys, run_tool
from port42_client.errors import Refused

SERVICE, SOCKET = "port42.service", "port42.socket"

_THERE = {"initializing", "starting", "running", "degraded", "maintenance", "stopping"}
"""What `systemctl --user is-system-running` says of a manager that answers, healthy or not."""

_SHOWN = ("ActiveState", "SubState", "Result", "MainPID", "StateChangeTimestamp", "ExecStart", "WatchdogUSec")
_AT_REST = {"success", "exec-condition", None}


class Systemd:
    """The units ``port42.service`` and ``port42.socket`` of this user."""

    name = "systemd"

    def __init__(self) -> None:
        named = os.environ.get("XDG_CONFIG_HOME")
        config = Path(named) if named and Path(named).is_absolute() else Path.home() / ".config"
        self._folder = config / "systemd" / "user"
        self.paths: tuple[Path, ...] = (self._folder / SERVICE, self._folder / SOCKET)

    def missing(self) -> tuple[str, ...]:
        there = shutil.which("systemctl")
        if not there or self._systemctl("is-system-running", check=False).strip() not in _THERE:
            return surroundings.explained(surroundings.seen(os.environ))
        # Not our folder, where its XDG_CONFIG_HOME was another one.
        if str(self._folder) in self._systemctl("show", "--value", "--property=UnitPath").split():
            return ()
        return (
            f"the user manager does not read units from {self._folder}",
            "XDG_CONFIG_HOME or HOME is another one here than where it was started.",
        )

    def files(self, target: ServiceTarget) -> dict[Path, str]:
        service, socket = self.paths
        return {
            service: unit.service(shipped_text("systemd", SERVICE), target),
            socket: unit.socket(shipped_text("systemd", SOCKET), target.address),
        }

    def start(self, changed: Collection[Path], *, anew: bool) -> None:
        """Enable the socket, and start the service now, so that it is known to start.

        Only the socket is enabled: after a login it holds the address, and the first connection starts
        the daemon. So logins are not slower, and the daemon runs only when it is used.
        """
        self._systemctl("daemon-reload")
        if anew or self.paths[1] in changed:
            self.release()
        self._systemctl("enable", "--now", SOCKET)
        self._systemctl("restart" if self.paths[0] in changed else "start", SERVICE)

    def stop(self) -> None:
        self._systemctl("stop", SERVICE)

    def restart(self) -> None:
        self._systemctl("restart", SERVICE)

    def release(self) -> None:
        self._systemctl("stop", SOCKET, SERVICE, check=False)  # not loaded: nothing to stop
        # Else a start that failed too often would be refused.
        self._systemctl("reset-failed", SOCKET, SERVICE, check=False)

    def disable(self) -> None:
        # The service, too: it may have been enabled by hand.
        self._systemctl("disable", "--now", SOCKET, SERVICE)
        self._systemctl("reset-failed", SOCKET, SERVICE, check=False)

    def forget(self) -> None:
        self._systemctl("daemon-reload")

    def pid(self) -> int | None:
        # Asked only when there is a unit, because that starts a process.
        if not self.paths[0].exists() or not shutil.which("systemctl"):
            return None
        number = self._systemctl("show", "--value", "--property=MainPID", SERVICE, check=False).strip()
        return int(number) if number.isdecimal() and int(number) else None

    def serves(self, address: str) -> bool:
        try:
            there = unit.listens_at(self.paths[1].read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError):
            return False
        return there == address and not self.missing() and self.condition().enabled

    def condition(self) -> Condition:
        service, socket = self._show(SERVICE), self._show(SOCKET)
        enabled = self._systemctl("is-enabled", SOCKET, check=False).strip() == "enabled"
        since = re.fullmatch(r"@(\d+)", service.get("StateChangeTimestamp", ""))
        running = service.get("ActiveState") == "active"
        results = {SERVICE: service.get("Result"), SOCKET: socket.get("Result")}
        failed = [f"{name}: {result}" for name, result in results.items() if result not in _AT_REST]
        program = re.search(r"argv\[\]=(.*?) ; ", service.get("ExecStart", ""))
        return Condition(
            enabled=enabled,
            listening=socket.get("ActiveState") == "active",
            running=running,
            pid=int(service.get("MainPID", "0")) or None,
            since=datetime.fromtimestamp(int(since[1]), UTC).isoformat() if since else None,
            program=program[1] if program else None,
            failed="; ".join(failed) or None,
            watchdog=service.get("WatchdogUSec") if service.get("WatchdogUSec", "0") != "0" else None,
            linger=self._linger(),
        )

    def notices(self) -> list[str]:
        environment = self._systemctl("show-environment").splitlines()
        notices = missing_keys({line.partition("=")[0] for line in environment})
        if not self._linger():
            again = "to have it without a login: loginctl enable-linger"
            notices.append(f"It runs while you are logged in; {again}")
        return notices

    def log_command(self, lines: int, *, follow: bool) -> list[str] | None:
        """journalctl over every journal this user may read: without a persistent one there is no --user."""
        if shutil.which("journalctl") is None:
            raise Refused("journalctl is not here; a daemon that no service runs has `port42 daemon logs`")
        argv = ["journalctl", f"--user-unit={SERVICE}", f"--lines={lines}", "--no-pager", "--quiet"]
        return [*argv, "--follow"] if follow else argv

    def _show(self, name: str) -> dict[str, str]:
        properties = [f"--property={name}" for name in _SHOWN]
        output = self._systemctl("show", "--timestamp=unix", *properties, name)
        return dict(line.split("=", 1) for line in output.splitlines() if "=" in line)

    def _linger(self) -> bool | None:
        """Whether the manager runs without a login; None where logind is not here."""
        if shutil.which("loginctl") is None:
            return None
        show = ("loginctl", "show-user", str(os.geteuid()), "--property=Linger", "--value")
        done = run_tool(*show, check=False)
        return {"yes": True, "no": False}.get(done.stdout.strip())

    def _systemctl(self, *arguments: str, check: bool = True) -> str:
        env = dict(os.environ)
        if not env.get("XDG_RUNTIME_DIR"):
            # cron and sudo take it away; the manager, where one runs, is there all the same.
            with suppress(OSError):
                usual = Path(f"/run/user/{os.geteuid()}")
                if usual.stat().st_uid == os.geteuid():
                    env["XDG_RUNTIME_DIR"] = str(usual)
        return run_tool("systemctl", "--user", "--no-pager", *arguments, env=env, check=check).stdout
