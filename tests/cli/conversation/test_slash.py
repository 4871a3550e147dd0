"""What is typed after a slash in a conversation, with the real daemon behind it."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest
from peers.conversations import CTRL_C as CLEAR
from peers.conversations import CTRL_D, ENTER, PROMPT, TAB, contents, ended, leave, send
from peers.model_server import ModelServer, gives
from peers.screen import Screen
from peers.talk import configure

from port42_cli.conversation.slash import COMMANDS

PEERS = Path(__file__).parents[2] / "peers"


def sessions(port42, agent="ai-muse"):
    return port42.json("sessions", f"@{agent}", "--json")["sessions"]


def test_help_names_every_command_and_the_keys(terminal):
    talk = terminal("possess", "@ai-muse")
    send(talk, "/help", "/new")
    shown = ("/sessions", "/switch", "/rename TITLE", "/fork", "/rewind", "/retry", "/copy", "/export")
    for command in (
        *shown,
        "/agent",
        "/model",
        "/mode",
        "/end",
        "/exit",
        "/help",
        "Ctrl-D leaves",
        "//word sends",
    ):
        talk.expect_exact(command)
    leave(talk)


def test_the_documentation_has_every_command():
    page = Path(__file__).parents[3] / "docs" / "conversation.md"
    documented = re.findall(r"^\| `/(\w+)(?: (.+?))?` \|", page.read_text(), re.MULTILINE)
    assert documented == [(name, command.argument) for name, command in COMMANDS.items()]


def test_sessions_are_this_agents_own(terminal, port42):
    port42.begin("@ai-engineer", "not mine")
    port42.begin("@ai-muse", "all mine")
    talk = terminal("possess", "@ai-muse")
    send(talk, "/sessions", "all mine")
    assert "not mine" not in talk.before
    leave(talk)
    assert "not mine" not in talk.before


def test_switch_continues_another_session_shows_its_end_and_makes_it_the_last(terminal, port42):
    first = port42.begin("@ai-muse", "what was said")
    port42.begin("@ai-muse", "second")
    talk = terminal("possess", "@ai-muse")
    send(talk, f"/switch {first}", rf"Resuming session {first} for @ai-muse \(1 message\)")
    talk.expect("what was said")
    send(talk, "again")
    leave(talk)
    assert port42.json("rpc", "get_last_session", "agent=ai-muse")["session_id"] == first
    assert contents(port42, "ai-muse") == ["what was said", "again"]


def test_switch_to_another_agents_session_is_refused(terminal, port42):
    theirs = port42.begin("@ai-engineer", "theirs")
    talk = terminal("possess", "@ai-muse")
    send(talk, f"/switch {theirs}", f"Error: session {theirs} belongs to @ai-engineer, not to @ai-muse")
    send(talk, "mine")
    leave(talk)
    assert contents(port42, "ai-muse") == ["mine"]
    assert contents(port42, "ai-engineer") == ["theirs"]


def test_switch_alone_lets_one_choose(terminal, port42):
    begun = port42.begin("@ai-muse", "the only one")
    talk = terminal("possess", "@ai-muse")
    send(talk, "/switch", "1 of 1 session")
    talk.send(ENTER)
    talk.expect(f"Resuming session {begun}")
    assert leave(talk) == 0
    talk = terminal("possess", "@ai-muse", TERM="dumb")
    send(talk, "/switch", "Error: /switch: expected REF")
    leave(talk)


def test_new_begins_another_session_and_rename_names_it(terminal, port42):
    talk = terminal("possess", "@ai-muse")
    send(talk, "/rename too early", "Error: /rename: no session has begun")
    send(talk, "one")
    send(talk, "/new", "A new session begins with your next message")
    send(talk, "two")
    send(talk, "/rename a better title", r"cli-\d+: a better title")
    leave(talk)
    second, first = sessions(port42)
    assert (first["title"], second["title"]) == ("one", "a better title")
    assert contents(port42, "ai-muse") == ["two"]


def test_fork_continues_in_a_copy_and_may_give_it_to_another_agent(terminal, port42):
    talk = terminal("possess", "@ai-muse")
    send(talk, "one", r"Session: (\S+)")
    original = talk.match[1]
    send(talk, "/fork", rf"{original} stays as it is.*Session: (cli-\d+)")
    fork = talk.match[1]
    send(talk, "two")
    send(talk, "/fork @ai-engineer", rf"{fork} stays as it is.*Session: (cli-\d+)")
    talk.expect("@ai-engineer ›")
    talk.send("three" + ENTER)
    talk.expect("Recorded")
    leave(talk)
    assert "possess @ai-engineer --session" in talk.before
    assert contents(port42, "ai-engineer") == ["one", "two", "three"]
    (forked,) = [session for session in sessions(port42) if session["session_id"] == fork]
    assert forked["forked_from"]["session_id"] == original
    assert forked["message_count"] == 2


def test_rewind_takes_questions_back_to_be_asked_anew(terminal, port42):
    talk = terminal("possess", "@ai-muse")
    for question in ("one", "two", "three"):
        send(talk, question)
    send(talk, "/rewind 9", "Error: /rewind: expected at most 3")
    send(talk, "/rewind two", "Error: /rewind: expected how many questions to take back, got 'two'")
    send(talk, "/rewind 2", r"(cli-\d+) stays as it is")
    original = talk.match[1]
    send(talk, " and a half")  # behind the question, which stands on the line
    send(talk, "/rewind 2", "A new session begins")
    send(talk, "")
    leave(talk)
    assert contents(port42, "ai-muse") == ["one"]
    kept = {session["session_id"]: session["message_count"] for session in sessions(port42)}
    assert sorted(kept.values()) == [1, 2, 3]
    assert kept[original] == 3
    page = port42.json("show", next(name for name in kept if kept[name] == 2), "--json")
    assert [message["content"] for message in page["messages"]] == ["one", "two and a half"]


def test_end_ends_the_session_and_the_conversation(terminal, port42):
    talk = terminal("possess", "@ai-muse")
    send(talk, "/end", "Error: /end: no session has begun")
    send(talk, "hello")
    send(talk, "/end", "Ended cli-")
    assert ended(talk) == 0
    (session,) = sessions(port42)
    assert session["state"] == "ended"


@pytest.mark.parametrize("typed", ["exit", " Quit ", "/exit", "/quit"])
def test_words_that_leave_are_never_sent(terminal, port42, typed):
    talk = terminal("possess", "@ai-muse")
    talk.expect(PROMPT)
    talk.send(typed + ENTER)
    assert ended(talk) == 0
    assert sessions(port42) == []


def test_only_what_cannot_be_a_command_is_sent(terminal, port42):
    talk = terminal("possess", "@ai-muse")
    meant = r"did you mean /model or /mode\?"
    send(talk, "/moddel x", rf"Error: no command /moddel; {meant}.*Known: /new .*//moddel")
    send(talk, "/", "Error: no command /")
    send(talk, "/Agent", "@ai-muse: none")
    send(talk, "/new x", "Error: /new: expected nothing behind it, got 'x'")
    send(talk, "/rename", "Error: /rename: expected TITLE")
    sent = ["//help", "/etc/hosts is wrong", "// a comment", "//host.example/path", "exit the loop"]
    for message in sent:
        send(talk, message)
    leave(talk)
    assert contents(port42, "ai-muse") == ["/help", *sent[1:]]


def test_the_last_exchange_is_shown_when_a_session_is_resumed(terminal, port42, home):
    configure(home, shout=["tr", "a-z", "A-Z"])
    port42.begin("@shout", "long ago")
    port42("possess", "@shout", "-c", "line\n" * 50 + "*loud* words")
    talk = terminal("possess", "@shout", "-c", NO_COLOR="")
    talk.expect(PROMPT)
    assert "long ago" not in talk.before.lower().partition("ctrl-d to quit")[2]
    assert talk.before.count("line\r\n") == 20
    assert "… 31 more lines" in talk.before
    assert re.search(r"\x1b\[[0-9;]*3m ?LOUD", talk.before)  # italic, as Markdown has it
    talk.send(CTRL_D)
    assert ended(talk) == 0


def test_export_writes_the_session_and_passes_options_on(terminal, port42, tmp_path):
    talk = terminal("possess", "@ai-muse")
    send(talk, "/export", "Error: /export: no session has begun")
    send(talk, "the words", r"Session: (cli-\d+)")
    session_id = talk.match[1]
    page = tmp_path / "a page.html"
    send(talk, f'/export "{page}"', f"{session_id} → ")
    assert "the words" in page.read_text()
    send(talk, f'/export "{page}"', "exists already; --force overwrites it")
    send(talk, f'/export "{page}" --force', f"{session_id} → ")
    send(talk, "/export x --nonsense", "Error: No such option")
    send(talk, '/export "x', "Error: /export: expected a file")
    leave(talk)


def test_model_is_asked_in_this_conversation_only(terminal, port42, home):
    configure(home, shout=["sh", "-c", "cat > /dev/null; echo model $0", "{model}"])
    talk = terminal("possess", "@shout", "--model", "loud-1")
    send(talk, "hello", "model loud-1")
    send(talk, "/model loud-2", "@shout: shout · ready.*In this conversation loud-2 is asked")
    send(talk, "hello", "model loud-2")
    send(talk, "/model -", "@shout: shout · ready")
    send(talk, "hello", r"model (?!loud)")
    leave(talk)
    talk = terminal("possess", "@ai-muse")
    send(talk, "/model x", r"Error: /model: no back end answers @ai-muse.*agents connect @ai-muse")
    leave(talk)


def test_copy_gives_the_last_reply_to_the_clipboard(terminal, home, tmp_path):
    configure(home, shout=["tr", "a-z", "A-Z"])
    xclip = tmp_path / "xclip"
    xclip.write_text(f"#!/bin/sh\nexec /bin/cat > {tmp_path}/copied\n")
    xclip.chmod(0o755)
    talk = terminal("possess", "@shout", PATH=f"{tmp_path}:/usr/bin:/bin", DISPLAY=":9")
    send(talk, "/copy", "Error: /copy: no session has begun")
    send(talk, "**hello**", r"s · shout")
    send(talk, "/copy", r"Copied 9 characters with xclip\.")
    assert (tmp_path / "copied").read_text() == "**HELLO**"
    leave(talk)


def test_tab_completes_the_models_that_the_back_end_offered(terminal, port42, home):
    configure(home)
    command = [sys.executable, str(PEERS / "acp_echo.py"), "/dev/null", "option"]
    (home / "config.toml").write_text(
        f'[agents.coder]\nbackend = "acp"\n[backends.acp]\ntype = "acp"\ncommand = {json.dumps(command)}\n'
    )
    port42.begin("@coder", "hello")
    seen = Screen(terminal("possess", "@coder"))
    seen.until("@coder ›")
    seen.send("/model lar" + TAB)
    seen.until("/model large")
    seen.send(CLEAR + CTRL_D)
    seen.left(0)


def test_a_mode_is_of_this_conversation_and_completed(terminal, port42, home):
    configure(home)
    command = [sys.executable, str(PEERS / "acp_echo.py"), "/dev/null", "modes"]
    (home / "config.toml").write_text(
        f'[agents.coder]\nbackend = "acp"\n[backends.acp]\ntype = "acp"\ncommand = {json.dumps(command)}\n'
    )
    talk = terminal("possess", "@coder")
    send(talk, "/mode", r"The mode is the back end's own\. An ACP agent's are known after")
    send(talk, "/mode plan", r"In this conversation the mode is plan; /mode - ends that\.")
    send(talk, "mode?", r"plan.*mode plan")
    send(talk, "/mode yolo", r"Error: /mode: expected - or one of default, plan, got yolo")
    send(talk, "/mode -", r"The mode is default, the back end's own; there are default, plan\.")
    send(talk, "mode?", "default")
    seen = Screen(talk)
    seen.send("/mode pl" + TAB)
    seen.until("/mode plan")
    seen.send(CLEAR + CTRL_D)
    seen.left(0)
    talk = terminal("possess", "@ai-muse")
    send(talk, "/mode plan", r"Error: /mode: no back end answers @ai-muse")
    leave(talk)


def test_models_that_a_server_lists_are_completed_and_others_warned_of(terminal, home):
    with ModelServer(lists=gives({"data": [{"id": "small-1"}, {"id": "large-1"}]})) as server:
        configure(home)
        (home / "config.toml").write_text(
            '[agents.served]\nbackend = "local"\n[backends.local]\ntype = "openai"\nmodel = "own"\n'
            f'base_url = "{server.url}/v1"\n'
        )
        talk = terminal("possess", "@served")
        send(talk, "/model smal-1", r"local does not list a model smal-1; did you mean small-1\?")
        send(talk, "/model small-1", r"In this conversation small-1 is asked instead; /model - ends that\.")
        seen = Screen(talk)
        seen.send("/model lar" + TAB)
        seen.until("/model large-1")
        seen.send(CLEAR + CTRL_D)
        seen.left(0)


def test_tab_completes_commands_sessions_agents_models_and_files(terminal, port42, home):
    configure(home, shout=["tr", "a-z", "A-Z"])
    with (home / "config.toml").open("a") as config:
        config.write(f'[agents.second]\nbackend = "shout"\nmodel = {json.dumps("the-only-model")}\n')
    begun = port42.begin("@shout", "hello")
    seen = Screen(terminal("possess", "@shout"))
    for typed, completed in (
        ("/swi", "/switch "),
        (begun[:-2], f"/switch {begun}"),
        (f"{CLEAR}/model the", "/model the-only-model"),
        (f"{CLEAR}/fork @ai-mu", "/fork @ai-muse"),
        (f"{CLEAR}/export {home}/conf", "/config.toml"),
        (f"{CLEAR}/nonsense x", "/nonsense x"),
        (f"{CLEAR}/re", "take back the last N questions"),  # of several, with what they do
    ):
        seen.until("@shout ›")
        seen.send(typed + TAB)
        seen.until(completed)
    seen.send(CLEAR + CTRL_D)
    seen.left(0)
