"""The configuration of MCP clients: one entry changes, all else stays, nothing is written by halves."""

from __future__ import annotations

import errno
import json
import os
import stat
import tomllib
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from port42_cli.mcp_clients import edit
from port42_cli.mcp_clients.known import CLIENTS, Server
from port42_client.errors import Refused

NOW = datetime(2026, 11, 26, 16, 39, tzinfo=UTC)
SERVER = Server(("/opt/bin/port42", "mcp", "--allow-ask"), {"PORT42_HOME": "/srv/home"})
CLAUDE, CODEX = CLIENTS["claude"], CLIENTS["codex"]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=12,
)


def parsed(client, text):
    return tomllib.loads(text) if client.format == "toml" else json.loads(text)


@pytest.mark.parametrize("client", CLIENTS.values(), ids=CLIENTS)
def test_a_new_file_has_the_entry_and_again_changes_nothing(client, tmp_path):
    path = tmp_path / "folder" / "config"
    change = edit.planned(client, path, SERVER)
    assert change.kind == "create"
    assert edit.write(change, NOW) is None
    entry = parsed(client, path.read_text())[client.section]["port42"]
    command = entry["command"]
    assert (command if isinstance(command, list) else [command, *entry["args"]]) == list(SERVER.argv)
    assert entry.get("env", entry.get("environment")) == dict(SERVER.environ)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert edit.planned(client, path, SERVER).kind == "keep"


@pytest.mark.parametrize("client", CLIENTS.values(), ids=CLIENTS)
def test_it_can_be_taken_out_again(client, tmp_path):
    path = tmp_path / "config"
    edit.write(edit.planned(client, path, SERVER), NOW)
    edit.write(edit.planned(client, path, None), NOW)
    assert not parsed(client, path.read_text()).get(client.section)
    assert edit.planned(client, path, None).kind == "keep"


def test_where_there_is_no_file_there_is_nothing_to_take_out(tmp_path):
    assert edit.planned(CLAUDE, tmp_path / "none", None).kind == "keep"


@given(st.dictionaries(st.text(max_size=8), JSON, max_size=4), st.sampled_from([None, 2, 4, "\t"]))
def test_everything_else_in_a_json_file_stays(whole, indent):
    whole = whole | {"mcpServers": {"other": {"command": "x"}}}
    text = json.dumps(whole, indent=indent, ensure_ascii=False)
    written = json.loads(edit._json(text, "mcpServers", {"command": "p"}))
    assert written.pop("mcpServers") == {"other": {"command": "x"}, "port42": {"command": "p"}}
    assert written == {name: value for name, value in whole.items() if name != "mcpServers"}


@pytest.mark.parametrize("indent", ["  ", "    ", "\t"])
def test_the_indentation_stays(indent, tmp_path):
    path = tmp_path / "config"
    path.write_text(json.dumps({"theme": "dark", "größe": ["ä"]}, indent=indent, ensure_ascii=False) + "\n")
    edit.write(edit.planned(CLAUDE, path, SERVER), NOW)
    text = path.read_text()
    assert text.startswith(f'{{\n{indent}"theme": "dark",\n{indent}"größe": [\n')
    assert text.endswith("}\n")


def test_comments_in_toml_stay(tmp_path):
    path = tmp_path / "config.toml"
    before = (
        '# mine\nmodel = "o3" # the best\n\n[mcp_servers.other] # theirs\ncommand = "x"\n\n[tui]\nx = 1\n'
    )
    path.write_text(before)
    edit.write(edit.planned(CODEX, path, SERVER), NOW)
    whole = tomllib.loads(path.read_text())
    assert whole["mcp_servers"]["other"] == {"command": "x"}
    assert whole["mcp_servers"]["port42"]["args"] == ["mcp", "--allow-ask"]
    assert (whole["model"], whole["tui"]) == ("o3", {"x": 1})
    for comment in ("# mine", "# the best", "# theirs"):
        assert comment in path.read_text()
    edit.write(edit.planned(CODEX, path, None), NOW)
    assert tomllib.loads(path.read_text()) == tomllib.loads(before)


def test_what_was_there_is_kept_and_the_mode_stays(tmp_path):
    path = tmp_path / "config"
    path.write_text('{"a": 1}')
    path.chmod(0o640)
    backup = edit.write(edit.planned(CLAUDE, path, SERVER), NOW)
    assert backup == tmp_path / "config.20261126T163900-before-port42"
    assert backup.read_text() == '{"a": 1}'
    assert {stat.S_IMODE(file.stat().st_mode) for file in (path, backup)} == {0o640}
    assert sorted(tmp_path.iterdir()) == sorted([path, backup])


def test_a_link_is_followed_and_stays(tmp_path):
    real, link = tmp_path / "dotfiles", tmp_path / "config"
    real.write_text("{}")
    link.symlink_to(real)
    edit.write(edit.planned(CLAUDE, link, SERVER), NOW)
    assert link.is_symlink()
    assert "port42" in json.loads(real.read_text())["mcpServers"]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('{"a": 1, // mine\n}', "not plain JSON"),
        ("[1]", "expected an object"),
        ('{"mcpServers": []}', "mcpServers: expected an object"),
        ("[" * 100_000, "not plain JSON"),
    ],
)
def test_a_file_that_is_not_understood_is_left_with_what_to_add(tmp_path, text, why):
    path = tmp_path / "config"
    path.write_text(text)
    with pytest.raises(Refused) as refused:
        edit.planned(CLAUDE, path, SERVER)
    assert why in refused.value.message
    assert refused.value.advice[0] == "  Add this to it:"
    assert '"port42"' in "\n".join(refused.value.advice)
    assert path.read_text() == text


def test_what_only_an_escape_can_say_stays(tmp_path):
    path = tmp_path / "config"
    path.write_text('{"a": "\\ud800"}')
    edit.write(edit.planned(CLAUDE, path, SERVER), NOW)
    assert json.loads(path.read_text())["a"] == "\ud800"


def test_toml_that_is_wrong_is_left(tmp_path):
    path = tmp_path / "config.toml"
    path.write_text("model = ")
    with pytest.raises(Refused, match="not TOML") as refused:
        edit.planned(CODEX, path, SERVER)
    assert "[mcp_servers.port42]" in "\n".join(refused.value.advice)


def test_special_files_and_other_encodings_are_refused(tmp_path):
    pipe, latin = tmp_path / "pipe", tmp_path / "latin"
    os.mkfifo(pipe)
    latin.write_bytes(b'{"a": "\xff"}')
    with pytest.raises(Refused, match="is not a file"):
        edit.planned(CLAUDE, pipe, SERVER)
    with pytest.raises(Refused, match="is not UTF-8"):
        edit.planned(CLAUDE, latin, SERVER)


def test_a_file_that_changed_while_a_person_thought_is_left(tmp_path):
    path = tmp_path / "config"
    path.write_text("{}")
    change = edit.planned(CLAUDE, path, SERVER)
    path.write_text('{"new": 1}')
    with pytest.raises(Refused, match="was changed meanwhile"):
        edit.write(change, NOW)
    assert path.read_text() == '{"new": 1}'
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_leaves_the_file_as_it_was(tmp_path, monkeypatch):
    path = tmp_path / "config"
    path.write_text("{}")
    change = edit.planned(CLAUDE, path, SERVER)
    syncs = iter([None, OSError(errno.ENOSPC, "No space left on device")])

    def fsync(_: int) -> None:
        if (error := next(syncs)) is not None:
            raise error

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(Refused, match="No space left on device; nothing was changed"):
        edit.write(change, NOW)
    assert path.read_text() == "{}"
    assert all(not file.name.startswith(".") for file in tmp_path.iterdir())


def test_where_each_client_keeps_its_configuration(tmp_path):
    def place(name, **environ):
        return CLIENTS[name].path(environ, tmp_path).relative_to(tmp_path)

    assert place("claude") == Path(".claude.json")
    assert place("claude", CLAUDE_CONFIG_DIR=str(tmp_path / "c")) == Path("c/.claude.json")
    assert place("codex") == Path(".codex/config.toml")
    assert place("codex", CODEX_HOME=str(tmp_path / "x")) == Path("x/config.toml")
    assert place("gemini") == Path(".gemini/settings.json")
    assert place("opencode", XDG_CONFIG_HOME=str(tmp_path / "x")) == Path("x/opencode/opencode.json")
    (tmp_path / ".config" / "opencode").mkdir(parents=True)
    (tmp_path / ".config" / "opencode" / "opencode.jsonc").touch()
    assert place("opencode") == Path(".config/opencode/opencode.jsonc")
