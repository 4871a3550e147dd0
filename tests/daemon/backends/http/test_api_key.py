"""API keys: their sources, and the errors about them."""

import asyncio
import importlib.util
import os
from pathlib import Path

import pytest

from port42_daemon import secret
from port42_daemon.backends.http.api_key import Key, described, read_key
from port42_daemon.backends.http.errors import Failed
from port42_daemon.config import OpenAIBackend

KEY = "sk-test-0123456789abcdef"

KEYRING = '''
"""A keyring in a file, for the real package to read."""
import json, os, time
from keyring.backend import KeyringBackend
from keyring.errors import PasswordDeleteError, PasswordSetError

class Keyring(KeyringBackend):
    priority = 9
    def get_password(self, service, username):
        if asked := os.environ.get("TEST_ASKED"):
            with open(asked, "a") as file:
                print(username, file=file)
            time.sleep(1)
        if username == "slow":
            time.sleep(60)
        return json.loads(os.environ["TEST_KEYRING"]).get(f"{service} {username}")
    def set_password(self, service, username, password):
        raise PasswordSetError("this keyring is only read")
    def delete_password(self, service, username):
        raise PasswordDeleteError("this keyring is only read")
'''


def read(environ: dict[str, str] | None = None, **source: str) -> Key | None:
    return asyncio.run(read_key(OpenAIBackend(model="m", **source), environ or {}))


def revealed(environ: dict[str, str] | None = None, **source: str) -> str:
    key = read(environ, **source)
    assert key is not None
    return key.reveal()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "key"
    path.touch(0o600)
    path.write_text(f"{KEY}\n")
    return path


def refused(path: Path | str) -> str:
    with pytest.raises(Failed) as caught:
        read(api_key_file=str(path))
    assert KEY not in str(caught.value)
    return str(caught.value)


def test_no_key_is_configured() -> None:
    assert not read()
    assert "api_key_env" in described(OpenAIBackend(model="m"))


def test_a_key_is_never_written() -> None:
    key = Key(KEY)
    for text in (repr(key), str(key), f"{key}", f"{key!r}", "%s" % key, repr([key]), repr({"key": key})):  # noqa: UP031 - as logging does
        assert KEY not in text
    assert key.without_key(f"a {KEY} b{KEY}") == "a … b…"
    assert not hasattr(key, "__dict__")


# --- the environment ------------------------------------------------------------------------------


def test_a_variable() -> None:
    assert revealed({"NAME": f" {KEY}\n"}, api_key_env="NAME") == KEY


@pytest.mark.parametrize("environ", [{}, {"NAME": ""}, {"NAME": "  "}])
def test_a_variable_that_is_not_there_is_named_and_the_reason_said(environ: dict[str, str]) -> None:
    with pytest.raises(match=r"NAME is not in the daemon's environment.*never reaches it"):
        read(environ, api_key_env="NAME")


@pytest.mark.parametrize("bad", ["two words", "line\nline", "ключ", "a\x00b", "a\x7fb"])
def test_what_cannot_be_a_header_is_no_key_and_not_quoted(bad: str) -> None:
    with pytest.raises(match="NAME does not hold a key") as caught:
        read({"NAME": bad}, api_key_env="NAME")
    assert bad not in str(caught.value)


# --- files ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_a_file_of_our_own(file: Path, mode: int) -> None:
    file.chmod(mode)
    assert revealed(api_key_file=str(file)) == KEY


def test_a_file_in_the_home(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(file.parent))
    assert revealed(api_key_file="~/key") == KEY


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644, 0o610])
def test_a_file_that_is_open_to_others(file: Path, mode: int) -> None:
    file.chmod(mode)
    assert f"mode {mode:04o}" in refused(file)
    assert "chmod 600" in refused(file)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_file_of_somebody_else(file: Path) -> None:
    os.chown(file, 12345, -1)
    assert "belongs to another user" in refused(file)


def test_no_file(tmp_path: Path) -> None:
    assert "No such file" in refused(tmp_path / "nothing")
    assert "not a file" in refused(tmp_path)


def test_a_fifo_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o600)
    assert "not a file" in refused(tmp_path / "pipe")


def test_a_path_that_depends_on_the_working_folder(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(file.parent)
    assert "absolute path" in refused("key")


@pytest.mark.parametrize(("name", "expected"), [("~nobody-of-that-name/key", "a user"), ("/a\0b", "a path")])
def test_a_path_that_no_file_has(name: str, expected: str) -> None:
    assert expected in refused(name)


def test_a_file_that_is_too_long_is_not_cut(file: Path) -> None:
    file.write_text("k" * 20_000)
    assert "more than 16,384 bytes" in refused(file)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "is empty"),
        (b"\n", "is empty"),
        (b"a b", "one word"),
        (b"\xff\xfe", "one word"),
        (b"a\nb", "one word"),
    ],
)
def test_a_file_that_holds_no_key(file: Path, content: bytes, expected: str) -> None:
    file.write_bytes(content)
    assert expected in refused(file)


def test_a_file_is_read_anew(file: Path) -> None:
    assert revealed(api_key_file=str(file)) == KEY
    file.write_text("sk-another")
    assert revealed(api_key_file=str(file)) == "sk-another"


# --- the keyring ----------------------------------------------------------------------------------


@pytest.fixture
def keyring(tmp_path: Path) -> dict[str, str]:
    pytest.importorskip("keyring", reason="needs the package keyring")
    (tmp_path / "keyring_in_a_file.py").write_text(KEYRING)
    return os.environ | {
        "PYTHONPATH": str(tmp_path),
        "PYTHON_KEYRING_BACKEND": "keyring_in_a_file.Keyring",
        "TEST_KEYRING": f'{{"port42 ada": "{KEY}", "work/models ada": "sk-work"}}',
    }


def test_a_keyring_by_user_and_by_service(keyring: dict[str, str]) -> None:
    assert revealed(keyring, api_key_keyring="ada") == KEY
    assert revealed(keyring, api_key_keyring="work/models/ada") == "sk-work"


def test_a_keyring_that_has_no_such_key_says_how_to_set_it(keyring: dict[str, str]) -> None:
    with pytest.raises(match="keyring set port42 bob"):
        read(keyring, api_key_keyring="bob")


def test_a_keyring_that_waits_for_a_person_is_not_waited_for(
    keyring: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(secret, "KEYRING_WITHIN", 1.0)
    with pytest.raises(match="within 1 s"):
        read(keyring, api_key_keyring="slow")


def test_several_at_once_are_one_question_to_the_person(keyring: dict[str, str], tmp_path: Path) -> None:
    """A status asks for it, and gives up before the person has typed a word; so does the next one."""
    asked = tmp_path / "asked"
    config = OpenAIBackend(model="m", api_key_keyring="ada")

    async def work() -> Key | None:
        environ = keyring | {"TEST_ASKED": str(asked)}
        for _ in range(3):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(read_key(config, environ), 0.1)
        keys = await asyncio.gather(*(read_key(config, environ) for _ in range(3)))
        return keys[0]

    key = asyncio.run(work())
    assert key is not None
    assert key.reveal() == KEY
    assert asked.read_text() == "ada\n"


def test_without_the_package_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "keyring" else found(name))
    with pytest.raises(match="needs the Python package keyring"):
        read(api_key_keyring="ada")
