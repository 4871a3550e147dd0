"""Units rendered: what systemd reads back out of them is what was meant."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from port42_cli.service import unit
from port42_cli.service.files import shipped_text
from port42_cli.service.supervisor import MARK, ServiceTarget
from port42_client.errors import Refused

TARGET = ServiceTarget(
    ("/opt/port 42/bin/python", "-P", "-m", "port42_daemon"), "/run/p.sock", Path("/h"), "/bin"
)


def service(target: ServiceTarget = TARGET) -> str:
    return unit.service(shipped_text("systemd", "port42.service"), target)


def read_back(text: str) -> str:
    """A quoted word as systemd.syntax(7) and the specifiers of systemd.unit(5) have it; written anew."""
    if not text.startswith('"'):
        return text
    content = bytearray()
    for part in re.finditer(rb'\\x([0-9a-f]{2})|\\(["\\])|(%%)|([^"\\%])', text[1:-1].encode()):
        code, escaped, percent, plain = part.groups()
        content += bytes([int(code, 16)]) if code else escaped or (percent and b"%") or plain
    return content.decode(errors="surrogateescape")


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])))
def test_a_word_is_one_word_and_comes_back(text):
    word = unit.word(text)
    assert read_back(word) == text
    assert "\n" not in word
    assert re.fullmatch(r'[^"\s]+|"(?:[^"\\]|\\.)*"', word, flags=re.DOTALL)


def test_bytes_that_are_not_utf_8_come_back_too():
    assert unit.word("/h/\udcff") == r'"/h/\xff"'


def test_the_service_runs_this_program_with_the_path_of_the_shell():
    text = service()
    assert text.startswith(f"# {MARK}")
    assert '\nExecStart=":/opt/port 42/bin/python" -P -m port42_daemon' in text
    assert '\nEnvironment="PATH=/bin"\n' in text
    assert "%h" not in text


def test_words_behind_the_templates_program_stay():
    text = unit.service("[Unit]\n[Service]\nExecStart=%h/port42d --log-level x\n", TARGET)
    assert "-m port42_daemon --log-level x\n" in text


@pytest.mark.parametrize("path", ['/a"b/python', "/a'b/python", "/a\\b/python", "/a\nb/python", "/a\udcff/p"])
def test_a_program_that_systemd_would_not_take_is_refused(path):
    with pytest.raises(Refused, match="systemd starts no program whose path"):
        service(ServiceTarget((path,), "/run/p.sock", Path("/h"), "/bin"))


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1).map(lambda name: f"/run/{name}"))
def test_an_address_comes_back_or_is_refused(address):
    try:
        text = unit.socket(shipped_text("systemd", "port42.socket"), address)
    except Refused:
        assert address[-1].isspace() or address[-1] == "\\"
        return
    assert unit.listens_at(text) == address
    assert text.startswith(f"# {MARK}")


@pytest.mark.parametrize("address", ["/run/a\nb", "/run/a ", "/run/a\\", "/run/a\udcff"])
def test_an_address_that_no_unit_can_hold_is_refused(address):
    with pytest.raises(Refused, match="PORT42_SOCKET"):
        unit.socket("[Unit]\n[Socket]\nListenStream=x\n", address)


def test_no_address_is_found_where_there_is_none():
    assert unit.listens_at("[Socket]\nListenStream=%t/x") is None


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd here")
@settings(max_examples=5)
@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=20))
def test_systemd_finds_nothing_wrong(tmp_path_factory, name):
    folder = tmp_path_factory.mktemp("units")
    # It must be a program that is there.
    target = ServiceTarget(
        ("/bin/true", "--home", f"/h/{name}"), "/run/%n $x.sock", Path("/h"), f"/bin:/{name}"
    )
    (folder / "port42.service").write_text(service(target))
    (folder / "port42.socket").write_text(
        unit.socket(shipped_text("systemd", "port42.socket"), target.address)
    )
    done = subprocess.run(
        ["systemd-analyze", "--user", "verify", "--man=no", folder / "port42.service"],
        capture_output=True,
        text=True,
        check=False,
        env={"XDG_RUNTIME_DIR": str(folder), "PATH": "/usr/bin:/bin", "HOME": str(folder)},
    )
    # It exits 0 on unknown keys, and names them on stderr.
    assert (done.returncode, done.stderr) == (0, "")
