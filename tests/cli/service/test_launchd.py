"""The property list rendered, and what launchctl is told: a script that writes it down stands for it, for
there is no Mac here.
"""

from __future__ import annotations

import os
import plistlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from port42_cli.service import files, launchd
from port42_cli.service.files import shipped_text
from port42_cli.service.launchd import LABEL, Launchd
from port42_cli.service.supervisor import MARK, ServiceTarget

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
    agent, job = Launchd(), f"gui/{os.geteuid()}/{LABEL}"
    address = home.parent / "run" / "p.sock"
    target = ServiceTarget(("/bin/true",), str(address), Path("/h"), "/bin")
    assert agent.missing() == ()
    assert agent.pid() is None
    changes = files.changes_to(agent.files(target))
    files.carry_out(changes)
    agent.start({change.path for change in changes}, anew=False)
    assert address.parent.stat().st_mode & 0o777 == 0o700
    assert agent.pid() == 4711
    assert agent.serves(str(address))
    assert not agent.serves("/elsewhere")
    assert agent.condition().program == "/bin/true --log-file /h/daemon.log"
    agent.restart()
    agent.stop()
    agent.disable()
    assert not agent.condition().enabled
    told = [
        line for line in launchctl.with_name("launchctl.told").read_text().splitlines() if "print" not in line
    ]
    assert told == [
        f"enable {job}",
        f"bootstrap gui/{os.geteuid()} {agent.paths[0]}",
        f"kickstart {job}",
        f"kickstart -k {job}",
        f"kill SIGTERM {job}",
        f"bootout {job}",
    ]


TEMPLATE = shipped_text("launchd", "dev.port42.daemon.plist")
WITH_SOCKET = plistlib.dumps(
    {"ProgramArguments": ["x"], "Sockets": {"rpc": {"SockPathName": "/x", "SockPathMode": 384}}}
).decode()


def test_every_path_is_this_installations():
    target = ServiceTarget(("/opt/my python", "-P"), "/tmp/p.sock", Path("/Users/me/.port42"), "/bin")
    text = launchd.render(TEMPLATE, target)
    agent = plistlib.loads(text.encode())
    assert MARK in text
    assert agent["ProgramArguments"] == ["/opt/my python", "-P", "--log-file", "/Users/me/.port42/daemon.log"]
    assert agent["EnvironmentVariables"]["PATH"] == "/bin"
    assert agent["KeepAlive"] == {"Crashed": True}
    assert "/ABSOLUTE/" not in text
    assert launchd.program(text) == "/opt/my python -P --log-file /Users/me/.port42/daemon.log"


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"])))
def test_an_address_comes_back(name):
    target = ServiceTarget(("/bin/true",), f"/tmp/{name}", Path("/h"), "/bin")
    text = launchd.render(WITH_SOCKET, target)
    assert launchd.listens_at(text) == f"/tmp/{name}"
    assert plistlib.loads(text.encode())["Sockets"]["rpc"]["SockPathMode"] == 0o600


@pytest.mark.parametrize("text", ["", "<plist", "<plist version='1.0'><array/></plist>", "nonsense"])
def test_what_is_no_property_list_says_nothing(text):
    assert launchd.program(text) is None
    assert launchd.listens_at(text) is None
