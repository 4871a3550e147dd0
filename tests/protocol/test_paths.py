"""Where things are, over real folders made for each test; nothing of the user's is asked."""

import os
import pwd
import socket
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from port42_protocol import paths


@pytest.fixture
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A runtime folder as a login session has it: the user's own, 0700."""
    folder = tmp_path / "run"
    folder.mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
    return folder


# --- the home -----------------------------------------------------------------------------------


def test_home_is_where_port42_home_says(tmp_path: Path) -> None:
    assert paths.home({"PORT42_HOME": str(tmp_path)}) == tmp_path


@pytest.mark.parametrize("environ", [{}, {"PORT42_HOME": ""}], ids=["unset", "empty"])
def test_home_is_under_the_users_otherwise(
    environ: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert paths.home(environ) == tmp_path / ".port42"


def test_a_relative_home_is_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert paths.home({"PORT42_HOME": "here"}) == tmp_path / "here"


def test_asking_for_the_home_makes_nothing(tmp_path: Path) -> None:
    paths.home({"PORT42_HOME": str(tmp_path / "new")})
    assert list(tmp_path.iterdir()) == []


# --- the socket ---------------------------------------------------------------------------------


def test_socket_is_where_port42_socket_says(tmp_path: Path) -> None:
    named = tmp_path / "my.sock"
    environ = {"PORT42_SOCKET": str(named), "PORT42_HOME": str(tmp_path)}
    assert paths.socket(environ) == named


def test_a_relative_socket_is_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert paths.socket({"PORT42_SOCKET": "my.sock"}) == tmp_path / "my.sock"


@pytest.mark.parametrize(
    "environ",
    [{}, {"PORT42_SOCKET": "", "PORT42_HOME": ""}],
    ids=["unset", "empty"],
)
def test_socket_is_in_the_runtime_folder(
    environ: dict[str, str], runtime: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", pwd.getpwuid(os.geteuid()).pw_dir)
    assert paths.socket(environ) == runtime / "port42" / "port42.sock"


def test_another_home_variable_has_another_socket(
    runtime: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    moved = paths.socket({})
    assert moved.parent == runtime / "port42"
    assert moved != runtime / "port42" / "port42.sock"
    assert moved == paths.socket({"PORT42_HOME": str(tmp_path / ".port42")})


def test_an_account_without_an_entry_has_the_home_of_its_variable(
    runtime: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(uid: int) -> object:
        raise KeyError(f"getpwuid(): uid not found: {uid}")

    monkeypatch.setattr("pwd.getpwuid", unknown)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert paths.socket({}) == runtime / "port42" / "port42.sock"


def test_asking_for_the_socket_makes_nothing(runtime: Path) -> None:
    paths.socket({})
    assert list(runtime.iterdir()) == []


def test_distinct_homes_have_distinct_sockets(runtime: Path, tmp_path: Path) -> None:
    homes = [tmp_path / name for name in ("a", "b", "A", "a/a", "é")]
    sockets = [paths.socket({"PORT42_HOME": str(home)}) for home in homes]
    assert len({*sockets, paths.socket({})}) == len(homes) + 1
    assert {one.parent for one in sockets} == {runtime / "port42"}


def test_the_same_home_has_the_same_socket(
    runtime: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    spelt = [str(tmp_path / "a"), f"{tmp_path}/a/", f"{tmp_path}/./a", "a", "./a"]
    assert len({paths.socket({"PORT42_HOME": home}) for home in spelt}) == 1


@pytest.mark.skipif(sys.platform == "darwin", reason="APFS takes no names that are not UTF-8")
def test_a_home_whose_name_is_not_utf8_has_a_socket(runtime: Path, tmp_path: Path) -> None:
    home = os.fsdecode(bytes(tmp_path) + b"/\xff")
    assert paths.socket({"PORT42_HOME": home}) != paths.socket({"PORT42_HOME": str(tmp_path)})


def test_a_runtime_folder_open_to_others_is_not_taken(
    runtime: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime.chmod(0o755)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)  # tempfile remembers the first TMPDIR it saw
    with pytest.warns(UserWarning, match="XDG_RUNTIME_DIR"):
        chosen = paths.socket({})
    assert runtime not in chosen.parents


def test_the_socket_for_reading_is_beside_the_other_one() -> None:
    assert paths.read_socket("/run/port42/port42.sock") == "/run/port42/port42-read.sock"
    assert paths.read_socket("/run/port42/port42-0123.sock") == "/run/port42/port42-0123-read.sock"
    assert paths.read_socket("/run/a.b/s") == "/run/a.b/s-read"


def test_every_supported_system_binds_a_path_of_the_limit() -> None:
    # Not tmp_path: on some systems that is over the limit before a name is added.
    with TemporaryDirectory(dir="/tmp") as folder, socket.socket(socket.AF_UNIX) as listener:
        path = os.path.join(folder, "")
        path += "s" * (paths.SOCKET_PATH_LIMIT - len(path))
        assert len(os.fsencode(path)) == paths.SOCKET_PATH_LIMIT
        listener.bind(path)
        assert Path(path).is_socket()


# --- in the home --------------------------------------------------------------------------------


def test_files_of_the_daemon_are_in_its_home(tmp_path: Path) -> None:
    assert paths.address_file(tmp_path) == tmp_path / "daemon.json"
    assert paths.lock_file(tmp_path) == tmp_path / "daemon.lock"
    assert paths.log_file(tmp_path) == tmp_path / "daemon.log"


# --- the current folder -------------------------------------------------------------------------


def test_the_current_folder_is_an_absolute_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert paths.current_folder() == str(tmp_path)


@pytest.mark.parametrize("name", ["two\nlines", os.fsdecode(b"caf\xe9")])
def test_a_folder_whose_path_is_no_line_of_text_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / name)
    assert paths.current_folder() is None


def test_a_deleted_folder_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert paths.current_folder() is None
