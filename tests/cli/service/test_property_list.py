"""The property list rendered, as launchd would read it."""

from __future__ import annotations

import plistlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from port42_cli.service import property_list, shipped
from port42_cli.service.supervisor import MARK, Place

TEMPLATE = shipped.text("launchd", "dev.port42.daemon.plist")
WITH_SOCKET = plistlib.dumps(
    {"ProgramArguments": ["x"], "Sockets": {"rpc": {"SockPathName": "/x", "SockPathMode": 384}}}
).decode()


def test_every_path_is_this_installations():
    place = Place(("/opt/my python", "-P"), "/tmp/p.sock", Path("/Users/me/.port42"), "/bin")
    text = property_list.render(TEMPLATE, place)
    agent = plistlib.loads(text.encode())
    assert MARK in text
    assert agent["ProgramArguments"] == ["/opt/my python", "-P", "--log-file", "/Users/me/.port42/daemon.log"]
    assert agent["EnvironmentVariables"]["PATH"] == "/bin"
    assert agent["KeepAlive"] == {"Crashed": True}
    assert "/ABSOLUTE/" not in text
    assert property_list.program(text) == "/opt/my python -P --log-file /Users/me/.port42/daemon.log"


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"])))
def test_an_address_comes_back(name):
    place = Place(("/bin/true",), f"/tmp/{name}", Path("/h"), "/bin")
    text = property_list.render(WITH_SOCKET, place)
    assert property_list.listens_at(text) == f"/tmp/{name}"
    assert plistlib.loads(text.encode())["Sockets"]["rpc"]["SockPathMode"] == 0o600


@pytest.mark.parametrize("text", ["", "<plist", "<plist version='1.0'><array/></plist>", "nonsense"])
def test_what_is_no_property_list_says_nothing(text):
    assert property_list.program(text) is None
    assert property_list.listens_at(text) is None
