"""`config.toml`: strict when read, its comments kept when written."""

from __future__ import annotations

import asyncio
import tomllib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from port42_daemon.agents import Agents
from port42_daemon.config import ConfigFile, parse
from port42_daemon.executors import Threads
from port42_daemon.store.file_store import FileStore
from port42_protocol.errors import ConfigRefused
from port42_protocol.messages.agents import AddAgent

NAMES = st.from_regex(r"\A[A-Za-z0-9][A-Za-z0-9._-]{0,20}\Z")


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("[agents.x]\ntypo = 1", "typo"),
        ("[agents.x]\nsystem = 1", "agents"),
        ('[agents."a b"]', "agents"),
        ("agents = 1", "agents"),
        ("[daemon]\nconnections = 0", "daemon.connections"),
        ("[daemon]\nrequest_bytes = 'x'", "daemon.request_bytes"),
        ("[elsewhere]", "elsewhere"),
        ('[hosts.x]\naddress = "-oProxyCommand=y"', "hosts.x.address: expected HOST"),
        ('[hosts.x]\naddress = "y"\ncommand = ["z"]', "hosts.x: expected one of address and command"),
        ("[agents", "not TOML"),
        ("a = 1\na = 2", "not TOML"),
        ("a = " + "[" * 5000, "not TOML"),
    ],
)
def test_a_bad_file_is_refused_with_the_place(text, place):
    with pytest.raises(ConfigRefused, match=r"config\.toml: ") as refused:
        parse(text)
    assert place in refused.value.message


@pytest.mark.parametrize(
    ("text", "line", "expected"),
    [
        (
            '[agents.a]\n[backends.b]\ntype = "cmd"',
            3,
            "expected one of none, command, acp, openai, anthropic, echo",
        ),
        ('[backends.b]\ncommand = ["x"]', 1, "type, too: one of none, command, acp, openai, anthropic, echo"),
        (
            '[backends.b]\ntype = "command"\ncommand = [\n "x",\n]\nparser = "clod"',
            6,
            "expected one of text, claude, codex, gemini",
        ),
        (
            '[backends.b]\ntype = "acp"\ncommand = [\n 3,\n]\n',
            3,
            "expected a list of words, the program",
        ),
        ("[agents.a]\nsystem = 1", 2, "agents.a.system: expected text"),
        ('[backends.b]\ntype = "openai"', 1, "expected model, too: a model's name"),
        ('[backends.b]\ntype = "echo"\npause = "x"', 3, "expected seconds from 0 to 60"),
        ("[hub]\nurl = 'postgres://me:secret @x'", 2, "expected an address that begins with postgresql://"),
        ("[agents.a]\nbackend = 'no/name'", 2, "expected the name of a back end"),
        ('[hub]\nservice = "x"\npassword_keyring = "\\u0000"', 3, "an entry in the keyring"),
        ("[capture]\nclaude = 1", 2, "capture.claude: expected a table"),
        (
            "[capture.claude]\nfolders = { '/x' = 3 }",
            2,
            "folders: expected a table, each value an agent name",
        ),
        ("agents = 3", 1, "agents: expected a table"),
        ("capture = []", 1, "capture: expected a table"),
        ("[agents.a]\n\nmodle = 'x'", 3, "expected system, backend, model, cwd"),
        ("[daemon]\nconection = 5", 2, "expected request_bytes, connections"),
        ("[backend.b]", 1, "expected agents, backends, daemon"),
        ("[hosts.x]\nadress = 'y'", 2, "expected address, command, program, home"),
    ],
)
def test_what_is_wrong_is_named_with_its_line_and_what_could_stand_there(text, line, expected):
    with pytest.raises(ConfigRefused) as refused:
        parse(text)
    assert f"line {line}: " in refused.value.message
    assert expected in refused.value.message
    assert "secret" not in refused.value.message


def test_a_long_file_is_refused_as_quickly_as_a_short_one(tmp_path):
    """Quadratic, this would take minutes: the file has half a megabyte."""
    agents = "".join(f"[agents.a{number}]\nsystem = 'typo'\n" for number in range(15_000))
    with pytest.raises(ConfigRefused, match="typo"):
        parse(f"{agents}[agents.last]\ntypo = 1")


def test_a_byte_order_mark_is_no_error_and_stays(tmp_path):
    path = tmp_path / "config.toml"
    path.write_bytes(b"\xef\xbb\xbf[agents.a]\n")
    config = ConfigFile(path)
    assert list(config.refresh().agents) == ["a"]
    assert config.error is None
    after = with_agent(path, "b", None).encode()
    assert after.startswith(b"\xef\xbb\xbf[agents.a]\n")
    assert list(parse(after.decode()).agents) == ["a", "b"]


def test_an_empty_file_and_none_at_all_are_good(tmp_path):
    assert parse("").agents == {}
    config = ConfigFile(tmp_path / "config.toml")
    assert (config.refresh().agents, config.error, config.ever_good) == ({}, None, True)


@pytest.mark.parametrize("data", [b"\xff", b"[agents.x]\n\xff", b"\x00"])
def test_what_is_not_text_is_said(tmp_path, data):
    (tmp_path / "config.toml").write_bytes(data)
    config = ConfigFile(tmp_path / "config.toml")
    config.refresh()
    assert config.error.startswith("config.toml: not")


def test_a_folder_in_its_place_is_said(tmp_path):
    (tmp_path / "config.toml").mkdir()
    config = ConfigFile(tmp_path / "config.toml")
    config.refresh()
    assert "cannot be read" in config.error


def test_the_last_good_state_stays_in_force(tmp_path):
    path = tmp_path / "config.toml"
    path.write_text("[agents.x]\nsystem = 'S'\n")
    config = ConfigFile(path)
    assert config.stale()
    config.refresh()
    assert not config.stale()
    path.write_text("broken")
    assert config.stale()
    assert config.refresh().agents["x"].system == "S"
    assert config.error
    path.write_text("")
    assert (config.refresh().agents, config.error) == ({}, None)


BEFORE = """# mine
[daemon] # limits
connections = 9

[agents.old] # the first
system = "a" # long
# end
"""


def with_agent(path: Path, name: str, system: str | None) -> str:
    """The file with one more agent, as `add_agent` writes it."""

    async def add() -> None:
        threads, store = Threads(), FileStore(path.parent)
        store.open()
        try:
            agents = Agents(store, store.catalogue, threads, ConfigFile(path), path.parent)
            await agents.add_agent(AddAgent(name, system))
        finally:
            threads.close()
            store.close()

    asyncio.run(add())
    return path.read_bytes().decode()


@settings(max_examples=60)
@given(NAMES.filter(lambda name: name != "old"), st.none() | st.text(max_size=40))
def test_an_agent_is_added_and_everything_else_stays_as_it_was(tmp_path_factory, name, system):
    path = tmp_path_factory.mktemp("config") / "config.toml"
    path.write_text(BEFORE)
    added = with_agent(path, name, system)
    said = tomllib.loads(added)
    assert said["agents"].pop(name).get("system") == system
    assert said == tomllib.loads(BEFORE)
    for comment in ("# mine", "# limits", "# the first", "# long", "# end"):
        assert added.count(comment) == 1


@pytest.mark.parametrize(
    "before",
    [
        "",
        "agents = {}\n",
        'agents = {old = {system = "x"}}\n',
        "agents.old.system = 'x'\n",
        "[agents]\n",
        "[agents]\nold = {}\n",
        "[daemon]\n\n[agents.old]\n",
        "[agents.old]\n[daemon]\nconnections = 5\n",
    ],
)
def test_an_agent_is_added_to_a_file_of_any_style(tmp_path, before):
    path = tmp_path / "config.toml"
    path.write_text(before)
    said = tomllib.loads(with_agent(path, "new", "S"))
    expected = tomllib.loads(before)
    expected.setdefault("agents", {})["new"] = {"system": "S"}
    assert said == expected


def test_line_ends_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_bytes(b"# mine\r\n[agents.a]\r\nsystem = 'x'\r\n")
    assert with_agent(path, "b", None).encode().startswith(b"# mine\r\n[agents.a]\r\nsystem = 'x'\r\n")
