"""The service files that people copy: understood by the tools that will read them."""

from __future__ import annotations

import plistlib
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from port42_daemon.process import socket_activation
from port42_protocol import paths

ROOT = Path(__file__).resolve().parents[2]
UNITS = ROOT / "systemd"

needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd here")


@pytest.fixture
def units(tmp_path: Path) -> Path:
    """The units in a folder of their own, with a program that is there."""
    shutil.copytree(UNITS, tmp_path / "units")
    service = tmp_path / "units" / "port42.service"
    service.write_text(service.read_text().replace("%h/.local/bin/port42d", "/bin/true"))
    return tmp_path / "units"


def analyze(units: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    env = {"XDG_RUNTIME_DIR": str(units), "PATH": "/usr/bin:/bin", "HOME": str(units)}
    command = ["systemd-analyze", "--user", "--no-pager", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=env)


@needs_systemd
@pytest.mark.parametrize("strict", [False, True])
def test_systemd_finds_nothing_wrong(units: Path, strict: bool) -> None:
    if not strict:
        shutil.rmtree(units / "port42.service.d")
    done = analyze(units, "verify", "--man=no", units / "port42.service", units / "port42.socket")
    # It exits 0 on unknown keys, and names them on stderr.
    assert (done.returncode, done.stderr) == (0, "")


@needs_systemd
def test_systemd_finds_them_exposed_less_than_a_unit_without_hardening(units: Path) -> None:
    def exposure() -> float:
        report = analyze(units, "security", "--offline=yes", units / "port42.service").stdout
        print(report)  # shown with -s, and where the test fails
        (exposure,) = re.findall(r"Overall exposure level for \S+: (\d+\.\d)", report)
        return float(exposure)

    strict = exposure()
    shutil.rmtree(units / "port42.service.d")
    usual = exposure()
    (units / "port42.service").write_text("[Service]\nExecStart=/bin/true\n")
    assert strict < usual < exposure()


def test_the_socket_is_where_clients_look_for_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    unit = dict(re.findall(r"^(\w+)=(.*)$", (UNITS / "port42.socket").read_text(), re.MULTILINE))
    tmp_path.chmod(0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    home = str(paths._account_folder() / ".port42")
    assert unit["ListenStream"] == str(paths.socket({"PORT42_HOME": home})).replace(str(tmp_path), "%t")
    assert (unit["SocketMode"], unit["DirectoryMode"]) == ("0600", "0700")
    assert unit["FileDescriptorName"] == socket_activation.NAME


def test_the_property_list_has_the_socket_and_is_restarted_after_a_crash_only() -> None:
    text = (ROOT / "launchd" / "dev.port42.daemon.plist").read_text()
    for name in ("PORT42D", "SOCKET", "LOG"):
        text = text.replace(f"@{name}@", f"/Users/me/{name.lower()}")
    assert not re.search(r"<string>[^<]*@", text)
    agent = plistlib.loads(text.encode())
    assert agent["Label"] == "dev.port42.daemon"
    assert agent["ProgramArguments"] == ["/Users/me/port42d", "--log-file", "/Users/me/log"]
    assert agent["Sockets"] == {
        socket_activation.NAME: {"SockPathName": "/Users/me/socket", "SockPathMode": 0o600}
    }
    assert agent["KeepAlive"] == {"Crashed": True}
    assert "RunAtLoad" not in agent
    assert agent["Umask"] == 0o077
