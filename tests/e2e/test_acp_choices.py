"""What is chosen and attached in an editor under `port42 acp`: agent, model, mode, files, pages, images."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest
from peers import backends_openai
from peers.editors import REPEAT, EditorError, acp_agent, records_of, texts
from peers.model_server import ModelServer, gives, says

CONFIG = (
    acp_agent("echo")
    + acp_agent("offers", "echo", "/dev/null", "option")
    + acp_agent("planner", "echo", "/dev/null", "modes")
    + REPEAT
)


@pytest.fixture
def daemon(start_daemon):
    return start_daemon(config=CONFIG)


def test_without_an_agent_the_editor_chooses_it_until_the_session_begins(daemon, editor):
    zed = editor()
    opened = zed.call("new_session", cwd="/tmp")
    (option,) = opened["configOptions"]
    assert {"@repeat", "@offers"} <= {choice["name"] for choice in option["options"]}
    assert option["currentValue"] in {"echo", "offers", "planner", "repeat"}
    session_id = opened["sessionId"]
    changed = zed.call("set_config_option", session_id=session_id, config_id="agent", value="repeat")
    assert changed["configOptions"][0]["currentValue"] == "repeat"
    zed.prompt(session_id, "hello")
    assert daemon.call("find_session", ref=session_id)["agent"] == "repeat"
    (update,) = (u for u in zed.updates if u["sessionUpdate"] == "config_option_update")
    assert [choice["value"] for choice in update["configOptions"][0]["options"]] == ["repeat"]
    with pytest.raises(EditorError, match="value: expected one of repeat"):
        zed.call("set_config_option", session_id=session_id, config_id="agent", value="echo")


# --- what is attached ---------------------------------------------------------------------------------


def test_links_and_texts_are_attached_and_shown_again(daemon, editor, home):
    note = home.parent / "a note.txt"
    note.write_text("the text of the note")
    picture = home.parent / "p.png"
    picture.write_bytes(b"\x89PNG\xff")
    zed = editor("@repeat")
    session_id = zed.new()
    zed.prompt(
        session_id,
        "look at ",
        {"type": "resource_link", "uri": note.as_uri() + "#L1", "name": "a note.txt"},
        {"type": "resource_link", "uri": picture.as_uri(), "name": "p.png"},
        {"type": "resource", "resource": {"uri": "zed:///thread/1", "text": "an earlier thread"}},
        " please",
    )
    question = records_of(daemon, session_id)[0]
    assert question["content"] == f"look at {note}#L1{picture}zed:///thread/1 please"
    assert question["references"] == [
        {"type": "file", "target": str(note), "content": "the text of the note"},
        {"type": "text", "target": "zed:///thread/1", "content": "an earlier thread"},
    ]
    assert "the text of the note" in texts(zed.updates)
    other = editor("@repeat")
    other.call("load_session", session_id=session_id, cwd="/tmp")
    shown = [u["content"] for u in other.updates if u["sessionUpdate"] == "user_message_chunk"]
    assert [block["type"] for block in shown] == ["text", "resource_link", "resource"]
    assert shown[1]["uri"] == note.as_uri()
    assert shown[2]["resource"]["text"] == "an earlier thread"


def test_a_page_that_cannot_be_reached_is_not_attached_and_the_prompt_is_asked(daemon, editor):
    zed = editor("@repeat")
    session_id = zed.new()
    link = {"type": "resource_link", "uri": "http://127.0.0.1:1/", "name": "page"}
    assert zed.prompt(session_id, "look at ", link) == {"stopReason": "end_turn"}
    assert "expected a URL that can be reached" in texts(zed.updates, "agent_thought_chunk")
    question = records_of(daemon, session_id)[0]
    assert question["content"] == "look at http://127.0.0.1:1/"
    assert not question.get("references")


def test_an_image_is_a_file_that_stands_in_the_message(daemon, editor):
    zed = editor("@repeat")
    session_id = zed.new()
    zed.prompt(session_id, "look at ", {"type": "image", "data": "AAAA", "mimeType": "image/png"})
    path = Path(records_of(daemon, session_id)[0]["content"].removeprefix("look at "))
    assert path.read_bytes() == b"\0\0\0"
    assert str(path) in texts(zed.updates)


def test_a_model_is_chosen_of_those_that_the_back_end_offered(daemon, editor):
    zed = editor("@offers")
    opened = zed.call("new_session", cwd="/tmp")
    assert not opened.get("configOptions")  # nothing is known before it was asked
    session_id = opened["sessionId"]
    zed.prompt(session_id, "hello")
    (update,) = (u for u in zed.updates if u["sessionUpdate"] == "config_option_update")
    (option,) = update["configOptions"]
    assert option["category"] == "model"
    assert [choice["value"] for choice in option["options"]] == ["default", "small", "large"]

    def chosen(value):
        changed = zed.call("set_config_option", session_id=session_id, config_id="model", value=value)
        assert changed["configOptions"][0]["currentValue"] == value
        zed.prompt(session_id, "and now?")
        return daemon.call("get_session", session_id=session_id, last=1)["messages"][0]["turn"]["model"]

    assert [chosen("large"), chosen("default")] == ["large", "small"]
    with pytest.raises(EditorError, match="value: expected one of default, small, large"):
        zed.call("set_config_option", session_id=session_id, config_id="model", value="huge")


def test_a_mode_is_chosen_of_those_that_are_permitted(daemon, editor):
    zed = editor("@planner")
    session_id = zed.new()
    zed.prompt(session_id, "mode?")
    (update,) = (u for u in zed.updates if u["sessionUpdate"] == "config_option_update")
    (option,) = update["configOptions"]
    assert (option["category"], option["currentValue"]) == ("mode", "default")
    assert [choice["value"] for choice in option["options"]] == ["default", "plan"]

    def answer():
        zed.prompt(session_id, "mode?")
        return daemon.call("get_session", session_id=session_id, last=1)["messages"][0]["content"].strip()

    changed = zed.call("set_config_option", session_id=session_id, config_id="mode", value="plan")
    assert changed["configOptions"][0]["currentValue"] == "plan"
    assert answer() == "plan"
    zed.call("set_session_mode", session_id=session_id, mode_id="default")
    assert answer() == "default"
    shown = [update["currentModeId"] for update in zed.updates if "currentModeId" in update]
    assert shown == ["plan", "default"]
    with pytest.raises(EditorError, match="modeId: expected one of default, plan"):
        zed.call("set_session_mode", session_id=session_id, mode_id="yolo")
    modes = editor("@planner").call("load_session", session_id=session_id, cwd="/tmp", mcp_servers=[])[
        "modes"
    ]
    assert modes == {
        "currentModeId": "default",
        "availableModes": [{"id": "default", "name": "Default"}, {"id": "plan", "name": "Plan"}],
    }


SERVED = """
[agents.served]
backend = "local"
[backends.local]
type = "openai"
model = "own"
base_url = "{url}/v1"
"""


def models_of(options) -> list[str]:
    return [choice["value"] for option in options if option["id"] == "model" for choice in option["options"]]


def test_the_models_of_a_model_server_are_those_that_it_lists(start_daemon, home, editor):
    with ModelServer(
        says(backends_openai.text("hello")), lists=gives({"data": [{"id": "small"}, {"id": "large"}]})
    ) as server:
        home.mkdir(mode=0o700)
        (home / "config.toml").write_text(SERVED.format(url=server.url))
        start_daemon()
        zed = editor("@served")
        opened = zed.call("new_session", cwd="/tmp")
        assert models_of(opened["configOptions"]) == ["own", "small", "large"]
        session_id = opened["sessionId"]
        zed.call("set_config_option", session_id=session_id, config_id="model", value="large")
        zed.prompt(session_id, "hello")
        assert server.bodies[0]["model"] == "large"
        chooser = editor()
        session_id = chooser.call("new_session", cwd="/tmp")["sessionId"]
        chosen = chooser.call("set_config_option", session_id=session_id, config_id="agent", value="served")
        assert models_of(chosen["configOptions"]) == ["own", "small", "large"]


def test_a_slow_list_holds_up_no_session_and_is_told_later(start_daemon, home, editor):
    answers_now = threading.Event()

    def slowly(exchange) -> None:
        answers_now.wait(30)
        gives({"data": [{"id": "small"}]})(exchange)

    with ModelServer(says(backends_openai.text("hello")), lists=slowly) as server:
        home.mkdir(mode=0o700)
        (home / "config.toml").write_text(SERVED.format(url=server.url))
        start_daemon()
        zed = editor("@served")
        assert models_of(zed.call("new_session", cwd="/tmp")["configOptions"]) == ["own"]
        answers_now.set()
        told = zed.until(lambda message: "config_option_update" in json.dumps(message))
        assert "small" in json.dumps(told)


SERVERS = [
    {
        "name": "files",
        "command": "/bin/files",
        "args": ["-r"],
        "env": [{"name": "TOKEN", "value": "tok-0123456789"}],
    }
]


def test_the_editors_mcp_servers_are_the_agents_and_are_kept_nowhere(start_daemon, home, editor, tmp_path):
    home.mkdir(mode=0o700)
    (home / "config.toml").write_text(acp_agent("echo", "echo", str(tmp_path / "journal"), "resume"))
    daemon = start_daemon()
    zed = editor("@echo")
    session_id = zed.call("new_session", cwd="/tmp", mcp_servers=SERVERS)["sessionId"]
    zed.prompt(session_id, "hello")
    again = editor("@echo")
    again.call("load_session", session_id=session_id, cwd="/tmp", mcp_servers=[])
    again.prompt(session_id, "hello")
    notes = [json.loads(line) for line in (tmp_path / "journal").read_text().splitlines()]
    opened = [note["params"]["mcpServers"] for note in notes if "mcpServers" in note.get("params", {})]
    assert opened == [SERVERS, []]
    assert "MCP" not in texts(zed.updates + again.updates, "agent_thought_chunk")
    daemon.stop()
    assert [
        path for path in home.rglob("*") if path.is_file() and b"tok-0123456789" in path.read_bytes()
    ] == []


def test_where_mcp_servers_cannot_be_used_the_editor_is_told_once(daemon, editor):
    zed = editor("@repeat")
    session_id = zed.call("new_session", cwd="/tmp", mcp_servers=SERVERS)["sessionId"]
    for _ in range(2):
        assert zed.prompt(session_id, "hello") == {"stopReason": "end_turn"}
    said = texts(zed.updates, "agent_thought_chunk")
    assert said.count("The MCP servers files are not used: the back end of @repeat is no ACP agent") == 1
