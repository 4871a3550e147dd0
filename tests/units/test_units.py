"""The service files that people copy: understood by the tools that will read them."""

from __future__ import annotations

import plistlib
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd here")
def test_systemd_finds_nothing_wrong(tmp_path: Path) -> None:
    unit = (ROOT / "systemd" / "port42.service").read_text()
    # It must be a program that is there; which one is not systemd's business.
    (tmp_path / "port42.service").write_text(unit.replace("%h/.local/bin/port42d", "/bin/true"))
    done = subprocess.run(
        ["systemd-analyze", "--user", "verify", "--man=no", tmp_path / "port42.service"],
        capture_output=True,
        text=True,
        check=False,
        env={"XDG_RUNTIME_DIR": str(tmp_path), "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)},
    )
    # It exits 0 on unknown keys, and names them on stderr.
    assert (done.returncode, done.stderr) == (0, "")


def test_the_property_list_runs_the_daemon_and_restarts_it_after_a_crash_only() -> None:
    agent = plistlib.loads((ROOT / "launchd" / "dev.port42.daemon.plist").read_bytes())
    assert agent["Label"] == "dev.port42.daemon"
    assert agent["ProgramArguments"][0].endswith("/port42d")
    assert agent["ProgramArguments"][1:3] == ["--started-by", "launchd"]
    assert agent["KeepAlive"] == {"Crashed": True}
    assert agent["Umask"] == 0o077
