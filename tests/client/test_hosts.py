"""What `--host` may name: addresses, and `[hosts.NAME]` of config.toml."""

from __future__ import annotations

import pytest

from port42_client import hosts
from port42_client.errors import BadInput
from port42_protocol.hosts import SshAddress, ssh_address


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("devbox", SshAddress("devbox")),
        ("me@dev.box_1", SshAddress("dev.box_1", "me")),
        ("ssh://me@devbox:22", SshAddress("devbox", "me", 22)),
        ("ssh://devbox/", SshAddress("devbox")),
        ("devbox:2222", SshAddress("devbox", None, 2222)),
        ("me@[fe80::1%eth0]:22", SshAddress("fe80::1%eth0", "me", 22)),
    ],
)
def test_an_address_is_taken_apart(text, address):
    assert ssh_address(text) == address


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "-oProxyCommand=x", "me@-x", "-l@devbox", "ssh://-x", "a b", "a;b", "$(x)", "`x`", "a|b"),
        *(
            "a\n",
            "a\0",
            "a'b",
            'a"b',
            "ü",
            "[::1",
            "::1",
            "a:0",
            "a:65536",
            "a:",
            "a:x",
            "a/b",
            "@a",
            "x://a",
        ),
    ],
)
def test_what_ssh_or_a_shell_could_take_for_something_else_is_none(text):
    assert ssh_address(text) is None


@pytest.fixture
def configured(home):
    def write(text):
        home.mkdir(mode=0o700)
        (home / "config.toml").write_text(text)

    return write


def test_a_name_of_config_toml_is_meant_before_an_address(configured, home):
    configured('[hosts.box]\naddress = "me@devbox:22"\nprogram = "~/bin/port42"\nhome = "/srv/p42"\n')
    there = hosts.host("box", str(home))
    assert (there.name, there.address) == ("box", SshAddress("devbox", "me", 22))
    assert (there.config.program, there.config.home) == ("~/bin/port42", "/srv/p42")
    assert hosts.host("other", str(home)).address == SshAddress("other")
    assert hosts.names(str(home)) == ["box"]


def test_without_a_file_every_name_is_an_address(home):
    assert hosts.host("devbox", str(home)).address == SshAddress("devbox")
    assert hosts.names(str(home)) == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[hosts.box]\nadress = "x"', "hosts.box: .*unknown field `adress`.*expected address, command"),
        ('[hosts.box]\naddress = "-x"', "hosts.box.address: expected HOST, USER@HOST or ssh://"),
        ("[hosts.box]\naddress = 3", "hosts.box.address: "),
        ('[hosts.box]\naddress = "a"\ncommand = ["b"]', "hosts.box: expected one of address and command"),
        ("[hosts.box]\ncommand = []", "hosts.box.command: "),
        ('[hosts.box]\ncommand = ["a", "dial-stdio"]', "hosts.box.command: .*which is added"),
        ('[hosts.box]\nprogram = ""', "hosts.box.program: "),
        ("[hosts]\nbox = 3", "hosts.box: "),
        ("hosts = 3", r"hosts: expected tables, \[hosts.NAME\]"),
        ("[hosts", "not TOML: "),
    ],
)
def test_a_wrong_table_is_refused_with_its_field(configured, home, text, words):
    configured(text)
    with pytest.raises(BadInput, match=words):
        hosts.host("box", str(home))
