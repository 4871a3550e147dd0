"""Why there is no user manager: each situation has its own words, and something to do."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

from port42_cli.service import surroundings
from port42_cli.service.surroundings import Surroundings

BOOTED = Surroundings(
    systemctl=True, booted=True, wsl=False, container=False, user="me", other_user=None, runtime_folder=True
)


@pytest.mark.parametrize(
    ("where", "words"),
    [
        (replace(BOOTED, booted=False, container=True), ["a container"]),
        (replace(BOOTED, booted=False, wsl=True), ["WSL", "/etc/wsl.conf", "wsl --shutdown"]),
        (replace(BOOTED, systemctl=False), ["a system that systemd does not run"]),
        (replace(BOOTED, other_user="root"), ["root became me", "machinectl shell me@"]),
        (replace(BOOTED, runtime_folder=False), ["not logged in", "loginctl enable-linger me"]),
        (BOOTED, ["does not answer", "XDG_RUNTIME_DIR"]),
    ],
)
def test_each_situation_has_its_words(where, words):
    first, *advice = surroundings.explained(where)
    assert first.startswith("there is no user manager to run a service: ")
    assert "port42 daemon run" in advice[-1]
    for word in words:
        assert word in "\n".join([first, *advice])


def test_who_became_this_user_is_seen():
    assert surroundings.seen({"SUDO_USER": "somebody"}).other_user == "somebody"
    assert surroundings.seen({"XDG_RUNTIME_DIR": "/run/user/99999"}).other_user == "uid 99999"
    assert surroundings.seen({"XDG_RUNTIME_DIR": f"/run/user/{os.geteuid()}"}).other_user is None
    assert surroundings.seen({}).other_user is None
    assert surroundings.seen({"container": "podman"}).container
