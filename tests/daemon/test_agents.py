"""Who there is: built in, configured, met in sessions."""

from __future__ import annotations

import asyncio
import tomllib

import pytest
from peers.model_server import ModelServer, gives
from peers.parts import answers

from port42_daemon.agents import BUILT_IN
from port42_daemon.backends import presets
from port42_protocol.errors import ConfigRefused, InvalidParams, StorageFailed, UnknownAgent
from port42_protocol.messages.agents import (
    AddAgent,
    Agent,
    ConnectAgent,
    GetAgent,
    ListAgents,
    ListModels,
    ModelList,
    RemoveAgent,
)
from port42_protocol.messages.daemon import ReloadConfig, Reloaded
from port42_protocol.messages.sessions import CreateSession
from port42_protocol.messages.turns import Possess
from port42_protocol.presets import ECHO, PRESETS

RECORDS = ("none", None, "none", "records only")
"""Back end, model, health and detail of an agent that only records."""


@pytest.fixture(autouse=True)
def no_keys(monkeypatch):
    """Keys in the environment would serve the built-in agents."""
    for name in ("ANTHROPIC_API_KEY", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)


def listed(rules) -> dict[str, Agent]:
    return {agent.agent: agent for agent in rules.ask(rules.agents.list_agents, ListAgents()).agents}


def add(rules, name: str, system: str | None = None) -> Agent:
    return rules.ask(rules.agents.add_agent, AddAgent(name, system))


def test_the_built_in_ones_come_first_then_the_configured_then_those_met(rules):
    rules.ask(rules.sessions.create_session, CreateSession("zed", session_id="cli-1"))
    rules.ask(rules.sessions.create_session, CreateSession("ai-muse", session_id="cli-2"))
    add(rules, "mine", "You are mine.")
    found = listed(rules)
    assert list(found) == [*BUILT_IN, ECHO, "mine", "zed"]
    assert found["zed"] == Agent("zed", "sessions", None, *RECORDS, 1, "cli-1")
    assert found["mine"] == Agent("mine", "config", "You are mine.", *RECORDS, 0, None)
    assert found["ai-muse"] == Agent("ai-muse", "built-in", BUILT_IN["ai-muse"], *RECORDS, 1, "cli-2")


def test_echo_answers_whatever_keys_there_are_until_it_is_configured(rules, monkeypatch):
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-secret")
    monkeypatch.setitem(presets.KNOWN["anthropic"], "base_url", "http://127.0.0.1:9")
    done = rules.ask(rules.turns.possess, Possess("echo", "say  this\n\ttwice "))
    assert (done.status, done.reply, done.turn.backend) == ("answered", "say  this\n\ttwice ", "echo")
    echo = listed(rules)["echo"]
    assert (echo.source, echo.backend, echo.health, echo.detail) == (
        "built-in",
        "echo",
        "ready",
        PRESETS[ECHO],
    )
    again = Possess("echo", "again", session_id=done.session_id)
    assert rules.ask(rules.turns.possess, again).turn.left_out == 0
    add(rules, "echo", "You are mine.")
    assert (listed(rules)["echo"].source, listed(rules)["echo"].backend) == ("config", "none")
    assert rules.ask(rules.turns.possess, Possess("echo", "hi")).status == "recorded"


def test_each_preset_is_described():
    assert list(PRESETS) == [*presets.KNOWN, "none"]
    assert ECHO not in presets.available({"PATH": "/bin:/usr/bin"})


def test_a_configured_agent_replaces_the_built_in_one(rules):
    add(rules, "ai-muse", "You are another.")
    assert (listed(rules)["ai-muse"].source, listed(rules)["ai-muse"].system) == (
        "config",
        "You are another.",
    )


def test_an_agent_is_added_once(rules):
    add(rules, "mine", "first")
    before = (rules.home / "config.toml").read_bytes()
    with pytest.raises(InvalidParams) as refused:
        add(rules, "mine", "second")
    assert refused.value.data["field"] == "agent"
    assert (rules.home / "config.toml").read_bytes() == before


def test_a_file_that_is_a_link_stays_one(rules):
    kept = rules.home / "dotfiles.toml"
    kept.write_text("# mine\n")
    (rules.home / "config.toml").symlink_to(kept)
    add(rules, "mine")
    assert (rules.home / "config.toml").is_symlink()
    assert kept.read_text().startswith("# mine\n")
    assert "mine" in listed(rules)


def test_many_added_at_once_are_all_kept(rules):
    names = [f"agent-{number}" for number in range(12)]
    rules.ask(rules.agents.add_agent, *[AddAgent(name) for name in names])
    assert set(names) <= set(listed(rules))


def test_a_file_changed_by_hand_is_noticed_and_a_bad_one_said_but_not_in_force(rules):
    path = rules.home / "config.toml"
    path.write_text("[agents.by-hand]\n")
    rules.ask(rules.agents.require, "by-hand")
    path.write_text("[agents.by-hand")
    answer = rules.ask(rules.agents.list_agents, ListAgents())
    assert "not TOML" in answer.config_error
    assert "by-hand" in {agent.agent for agent in answer.agents}
    with pytest.raises(ConfigRefused):
        add(rules, "mine")
    assert path.read_text() == "[agents.by-hand"
    with pytest.raises(UnknownAgent):
        rules.ask(rules.agents.require, "mine")


def test_nobody_answers_while_the_file_is_wrong_since_the_start(rules):
    path = rules.home / "config.toml"
    path.write_text("[agents.by-hand")
    for agent in ("ai-muse", "by-hand", "who"):
        with pytest.raises(ConfigRefused, match="not TOML"):
            rules.ask(rules.turns.possess, Possess(agent, "hello"))
    assert not list((rules.home / "sessions").iterdir())
    with pytest.raises(ConfigRefused, match="not TOML"):
        rules.ask(rules.agents.get_agent, GetAgent("by-hand"))
    path.write_text("[agents.by-hand]")
    assert rules.ask(rules.turns.possess, Possess("by-hand", "hello")).status == "recorded"
    path.write_text("[agents.by-hand")
    assert rules.ask(rules.turns.possess, Possess("by-hand", "hello")).status == "recorded"


def test_a_disk_that_refuses_leaves_the_file_and_says_so(rules, monkeypatch):
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("port42_daemon.durable.replace", full)
    with pytest.raises(StorageFailed, match=r"cannot write config\.toml: No space left"):
        add(rules, "mine")
    assert not (rules.home / "config.toml").exists()


# --- connecting -------------------------------------------------------------------------------------

CONFIG = """\
# mine
[agents.ai-muse]  # the muse
system = "You rhyme."  # always

[agents.other]

# the shouting one
[backends.shout]
type = "command"
command = ["tr", "a-z", "A-Z"]
"""


@pytest.fixture
def config(rules):
    path = rules.home / "config.toml"
    path.write_text(CONFIG)
    return path


def connect(rules, agent, backend, model=None):
    return rules.ask(rules.agents.connect_agent, ConnectAgent(agent, backend, model))


def test_connecting_writes_the_file_and_keeps_its_comments(rules, config):
    connected = connect(rules, "ai-muse", "shout")
    assert (connected.backend, connected.health, connected.source) == ("shout", "ready", "config")
    assert config.read_text() == CONFIG.replace("# always\n", '# always\nbackend = "shout"\n')
    assert connect(rules, "ai-muse", "none").backend == "none"
    assert config.read_text() == CONFIG


def test_connecting_a_known_back_end_writes_that_too(rules, config):
    connected = connect(rules, "ai-analyst", "ollama", "llama3.2")
    assert (connected.backend, connected.model, connected.health) == ("ollama", "llama3.2", "unreachable")
    written = config.read_text()
    assert written.startswith(CONFIG.partition("# the shouting")[0].rstrip())
    said = tomllib.loads(written)
    assert said["agents"]["ai-analyst"] == {"backend": "ollama", "model": "llama3.2"}
    assert said["backends"]["ollama"] == presets.KNOWN["ollama"]
    assert said["backends"]["shout"] == tomllib.loads(CONFIG)["backends"]["shout"]
    for comment in ("# mine", "# the muse", "# always", "# the shouting one"):
        assert written.count(comment) == 1


def test_the_model_of_another_back_end_is_not_asked_of_the_next(rules, config):
    assert connect(rules, "ai-muse", "ollama", "llama3.2").model == "llama3.2"
    assert connect(rules, "ai-muse", "ollama").model == "llama3.2"
    assert connect(rules, "ai-muse", "claude").model is None
    assert connect(rules, "ai-muse", "claude", "opus").model == "opus"
    assert connect(rules, "ai-muse", "none").model is None
    assert connect(rules, "ai-muse", "claude").model is None


@pytest.mark.parametrize("name", presets.KNOWN)
def test_whatever_is_known_can_be_connected(rules, config, name):
    assert connect(rules, "ai-muse", name).backend == name
    assert rules.ask(rules.agents.reload_config, ReloadConfig()) == Reloaded(2, 2)


def test_what_cannot_be_connected(rules, config):
    with pytest.raises(InvalidParams, match="expected one of shout, claude") as refused:
        connect(rules, "ai-muse", "clade")
    assert refused.value.data["field"] == "backend"
    with pytest.raises(UnknownAgent):
        connect(rules, "ai-mus", "shout")
    assert config.read_text() == CONFIG


def test_removing_leaves_the_rest_and_the_sessions(rules, config):
    rules.ask(rules.sessions.create_session, CreateSession("other", session_id="cli-1"))
    rules.ask(rules.agents.remove_agent, RemoveAgent("other"))
    assert config.read_text() == CONFIG.replace("[agents.other]\n", "")
    assert listed(rules)["other"].source == "sessions"
    with pytest.raises(UnknownAgent):
        rules.ask(rules.agents.remove_agent, RemoveAgent("other"))


def test_removing_the_first_keeps_the_comment_of_the_next(rules, config):
    before = "[agents.first]\n\n# of the second\n[agents.second]\n\n# of the third\n[agents.third]\n"
    config.write_text(before)
    for name in ("first", "third", "second"):
        rules.ask(rules.agents.remove_agent, RemoveAgent(name))
        for comment in ("# of the second", "# of the third"):
            assert config.read_text().count(comment) == 1
    assert not tomllib.loads(config.read_text()).get("agents")


def test_a_bad_file_is_refused_with_its_line_and_the_last_good_one_stays(rules, config):
    assert rules.ask(rules.agents.reload_config, ReloadConfig()) == Reloaded(2, 1)
    config.write_text(CONFIG + "\n[agents.new]\nsystem = 7\n")
    for _ in range(2):
        with pytest.raises(ConfigRefused, match=r"line 13: agents\.new\.system"):
            rules.ask(rules.agents.reload_config, ReloadConfig())
    found = rules.ask(rules.agents.list_agents, ListAgents())
    assert "line 13" in found.config_error
    assert {agent.agent: agent.system for agent in found.agents}["ai-muse"] == "You rhyme."
    with pytest.raises(ConfigRefused, match="line 13"):
        connect(rules, "ai-muse", "shout")
    config.write_text(CONFIG)
    assert rules.ask(rules.agents.reload_config, ReloadConfig()) == Reloaded(2, 1)
    assert rules.ask(rules.agents.list_agents, ListAgents()).config_error is None


def test_a_key_in_the_environment_serves_the_built_in_agents_and_is_never_shown(rules, monkeypatch):
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-secret")
    monkeypatch.setitem(presets.KNOWN["anthropic"], "base_url", "http://127.0.0.1:9")
    add(rules, "mine")
    found = listed(rules)
    assert {name for name, agent in found.items() if agent.backend == "anthropic"} == set(BUILT_IN)
    assert "sk-secret" not in repr(found)


# --- back ends and the turns they are in ------------------------------------------------------------


def test_a_back_end_that_changed_is_closed_after_its_last_turn(rules, config, monkeypatch):
    built = []

    def build(settings, programs):
        built.append(answers("x"))
        return built[-1]

    async def work():
        async with rules.agents.resolve("ai-muse") as first, rules.agents.resolve("ai-muse") as same:
            assert first.backend is same.backend is built[0]
            config.write_text(CONFIG.replace("# always", '\nbackend = "shout"').replace("A-Z", "A-Y"))
            await rules.agents.reload_config(ReloadConfig())
            assert built[0].closed == 0
            async with rules.agents.resolve("ai-muse") as later:
                assert later.backend is built[1]
        assert [backend.closed for backend in built] == [1, 0]
        await rules.agents.aclose()
        assert [backend.closed for backend in built] == [1, 1]

    connect(rules, "ai-muse", "shout")
    asyncio.run(rules.agents.aclose())
    monkeypatch.setattr(presets, "build", build)
    asyncio.run(work())


def test_a_look_that_fails_hides_no_other_agent(rules, config, monkeypatch, caplog):
    class Broken(type(answers())):
        async def probe(self):
            raise RuntimeError("secret")

    monkeypatch.setattr(presets, "build", lambda settings, programs: Broken(None))
    connect(rules, "ai-muse", "shout")
    muse = listed(rules)["ai-muse"]
    assert (muse.health, "secret" in muse.detail) == ("unreachable", False)
    assert "broke its contract" in caplog.text


SERVED = """
[agents.{name}]
backend = "served"
model = "{model}"
[backends.served]
type = "openai"
model = "default"
base_url = "{url}/v1"
"""


def models(rules, agent: str, backend: str | None = None) -> ModelList:
    async def ask(request: ListModels) -> ModelList:
        try:
            return await rules.agents.list_models(request)
        finally:
            await rules.agents.aclose()

    return rules.ask(ask, ListModels(agent, backend))


def test_models_are_those_of_config_toml_and_then_those_that_the_server_lists(rules):
    with ModelServer(lists=gives({"data": [{"id": "listed"}, {"id": "mine"}]})) as server:
        config = SERVED.format(name="first", model="mine", url=server.url)
        config += '[agents.second]\nbackend = "served"\nmodel = "theirs"\n'
        (rules.home / "config.toml").write_text(config)
        named = ("mine", "default", "theirs", "listed")
        assert models(rules, "first") == ModelList("first", "served", "mine", named, None)
        named = ("default", "mine", "theirs", "listed")
        assert models(rules, "ai-muse", "served") == ModelList("ai-muse", "served", "default", named, None)
    gone = SERVED.format(name="first", model="mine", url="http://127.0.0.1:1")
    (rules.home / "config.toml").write_text(gone)
    answer = models(rules, "first")
    assert answer.models == ("mine", "default")
    assert "cannot be reached: connection refused" in answer.detail


def test_a_back_end_without_a_list_says_so(rules):
    assert models(rules, "ai-muse") == ModelList("ai-muse", "none", None, (), "no back end answers")
    assert models(rules, "echo").detail == "echo asks no model"
    assert models(rules, "ai-muse", "claude").detail == "claude lists no models"
    assert models(rules, "ai-muse", "opencode").detail.startswith("opencode says which models it has when")


def test_models_of_an_unknown_agent_or_back_end_are_refused_with_similar_names(rules):
    with pytest.raises(UnknownAgent, match="Did you mean @ai-muse"):
        models(rules, "ai-mus")
    with pytest.raises(InvalidParams, match=r"backend: expected one of .*did you mean ollama"):
        models(rules, "ai-muse", "olama")
