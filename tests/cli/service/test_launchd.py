"""What launchctl is told: a script that writes it down stands for it, for there is no Mac here."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from port42_cli.service import files
from port42_cli.service.launchd import LABEL, Launchd
from port42_cli.service.supervisor import Place

LAUNCHCTL = """#!/bin/sh
echo "$@" >> "$0.told"
case "$1 $2" in
  "print gui/"*/dev*) test -e "$0.loaded" && echo "	pid = 4711";;
  bootstrap*) touch "$0.loaded";;
  bootout*) rm "$0.loaded";;
esac
"""


@pytest.fixture
def launchctl(home, monkeypatch):
    folder = home.parent
    script = folder / "launchctl"
    script.write_text(LAUNCHCTL)
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.setenv("HOME", str(folder))
    return script


def test_it_is_bootstrapped_restarted_and_booted_out(launchctl, home):
    agent, target = Launchd(), f"gui/{os.geteuid()}/{LABEL}"
    address = home.parent / "run" / "p.sock"
    place = Place(("/bin/true",), str(address), Path("/h"), "/bin")
    assert agent.missing() == ()
    assert agent.pid() is None
    changes = files.to_write(agent.files(place))
    files.carry_out(changes)
    agent.start({change.path for change in changes}, anew=False)
    assert address.parent.stat().st_mode & 0o777 == 0o700
    assert agent.pid() == 4711
    assert agent.serves(str(address))
    assert not agent.serves("/elsewhere")
    assert agent.condition().program == "/bin/true --log-file /h/daemon.log"
    agent.restart()
    agent.stop()
    agent.withdraw()
    assert not agent.condition().enabled
    told = [
        line for line in launchctl.with_name("launchctl.told").read_text().splitlines() if "print" not in line
    ]
    assert told == [
        f"enable {target}",
        f"bootstrap gui/{os.geteuid()} {agent.paths[0]}",
        f"kickstart {target}",
        f"kickstart -k {target}",
        f"kill SIGTERM {target}",
        f"bootout {target}",
    ]
