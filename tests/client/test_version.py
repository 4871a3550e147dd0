"""Which of two versions is older, and what is said where one does not understand the other."""

from __future__ import annotations

import os
from dataclasses import make_dataclass

import pytest
from msgspec import structs
from peers import versions

from port42_client import version as skew
from port42_client.client import Client
from port42_client.daemon import Daemon
from port42_client.errors import DaemonError
from port42_protocol import __version__, methods

ours = tuple(int(part) for part in __version__.split("."))


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        (__version__, "other"),
        (f"{__version__}.0", "other"),
        ("0.0.9", "older"),
        ("0.1", "older"),
        (f"{ours[0]}.{ours[1]}.{ours[2] + 1}", "newer"),
        (f"{ours[0]}.{ours[1] + 9}", "newer"),
        ("10.0.0", "newer"),
        ("0.10.0", "newer"),
        ("", "other"),
        ("0.1.0.dev3", "other"),
        ("٠.١.٠", "other"),
        ("1" * 5000, "other"),
        ("0.1.0\n", "other"),
    ],
)
def test_versions_are_compared_as_numbers_and_what_is_none_is_neither(version, expected):
    assert skew.compared(version) == expected


def test_what_helps_depends_on_who_is_behind_and_who_starts_the_daemon():
    assert skew.remedy("99.0", "systemd") == "update port42"
    assert "systemctl --user restart port42" in skew.remedy("0.1.0", "systemd")
    assert "launchctl kickstart" in skew.remedy("0.1.0", "launchd")
    assert {skew.remedy("0.1.0", by) for by in ("hand", "autostart", None)} == {
        "`port42 daemon restart` starts this version's"
    }


@pytest.fixture
def client(start_daemon, tmp_path):
    """A connection of this version to a daemon of the older wheel."""
    start_daemon(env=versions.older(tmp_path / "older").environ)
    with Client(Daemon(None, os.environ).connect) as client:
        yield client


def refusal(client, method, params):
    with pytest.raises(DaemonError) as caught:
        client.ask(method, params)
    return caught.value


def test_a_method_the_older_daemon_lacks_is_said_to_be_newer_than_it(client, monkeypatch):
    row = methods.METHODS["status"]
    monkeypatch.setitem(methods.METHODS, "sing", row)
    error = refusal(client, "sing", None)
    assert error.code == -32601
    assert error.message.startswith(
        f"port42d {versions.OLD} is older than this port42 {__version__} and does not understand sing"
    )
    assert error.message.endswith(": `port42 daemon restart` starts this version's")


def test_so_is_a_parameter(client, monkeypatch):
    row = methods.METHODS["get_last_session"]
    sung = make_dataclass("Sung", [("agent", str), ("loudly", bool, False)])
    monkeypatch.setitem(methods.METHODS, "get_last_session", structs.replace(row, params=sung))
    error = refusal(client, "get_last_session", {"agent": "ai-muse", "loudly": True})
    assert (error.code, error.data["field"]) == (-32602, "loudly")
    assert f"port42d {versions.OLD} is older" in error.message
    assert 'unknown parameter "loudly"' in error.message


def test_what_this_version_would_refuse_too_is_not_blamed_on_the_daemon(client):
    for method, params, expected in (
        ("no_such_method", None, "Method not found"),
        ("get_last_session", {}, "agent parameter required"),
        ("get_last_session", {"agent": 5}, "agent: expected an agent name"),
        ("status", {"loudly": True}, 'unknown parameter "loudly"'),
    ):
        message = refusal(client, method, params).message
        assert message.startswith(expected)
        assert "older" not in message


def test_a_refused_subscription_is_explained_as_well(client, monkeypatch):
    monkeypatch.setitem(methods.METHODS, "listen", methods.METHODS["subscribe"])
    with pytest.raises(DaemonError, match=r"is older than this port42 .* does not understand listen"):
        list(client.events("listen", {"agent": "ai-muse"}))


def test_the_same_version_pays_no_explanation(daemon):
    with Client(Daemon(None, os.environ).connect) as client:
        message = refusal(client, "get_last_session", {"agnt": "x"}).message
    assert message.startswith('unknown parameter "agnt"')
