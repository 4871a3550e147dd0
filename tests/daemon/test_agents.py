"""Who there is: built in, configured, met in sessions."""

from __future__ import annotations

import pytest

from port42_daemon.agents import BUILT_IN
from port42_protocol import messages as m
from port42_protocol.errors import ConfigRefused, InvalidParams, StorageFailed, UnknownAgent


def listed(rules) -> dict[str, m.Agent]:
    return {one.agent: one for one in rules.ask(rules.agents.list_agents, m.ListAgents()).agents}


def add(rules, name: str, system: str | None = None) -> m.Agent:
    return rules.ask(rules.agents.add_agent, m.AddAgent(name, system))


def test_the_built_in_ones_come_first_then_the_configured_then_those_met(rules):
    rules.ask(rules.sessions.create_session, m.CreateSession("zed", session_id="cli-1"))
    rules.ask(rules.sessions.create_session, m.CreateSession("ai-muse", session_id="cli-2"))
    add(rules, "mine", "You are mine.")
    found = listed(rules)
    assert list(found) == [*BUILT_IN, "mine", "zed"]
    assert found["zed"] == m.Agent("zed", "sessions", None, "none", 1, "cli-1")
    assert found["mine"] == m.Agent("mine", "config", "You are mine.", "none", 0, None)
    assert found["ai-muse"] == m.Agent("ai-muse", "built-in", BUILT_IN["ai-muse"], "none", 1, "cli-2")


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
    rules.ask(rules.agents.add_agent, *[m.AddAgent(name) for name in names])
    assert set(names) <= set(listed(rules))


def test_a_file_changed_by_hand_is_noticed_and_a_bad_one_said_but_not_in_force(rules):
    path = rules.home / "config.toml"
    path.write_text("[agents.by-hand]\n")
    rules.ask(rules.agents.require, "by-hand")
    path.write_text("[agents.by-hand")
    answer = rules.ask(rules.agents.list_agents, m.ListAgents())
    assert "not TOML" in answer.config_error
    assert "by-hand" in {one.agent for one in answer.agents}
    with pytest.raises(ConfigRefused):
        add(rules, "mine")
    assert path.read_text() == "[agents.by-hand"
    with pytest.raises(UnknownAgent):
        rules.ask(rules.agents.require, "mine")


def test_a_disk_that_refuses_leaves_the_file_and_says_so(rules, monkeypatch):
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("port42_daemon.store.disk.replace", full)
    with pytest.raises(StorageFailed, match=r"cannot write config\.toml: No space left"):
        add(rules, "mine")
    assert not (rules.home / "config.toml").exists()
