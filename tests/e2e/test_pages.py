"""The commands of the documentation's pages, typed one after another; they show what the pages say.

What they talk to is the real thing where that can be had (an sshd on loopback, a PostgreSQL, files that
the tools themselves wrote); `PREPARE` has it for each page.
"""

from __future__ import annotations

import getpass
import json
import re
import shutil
import subprocess
import zipfile
from pathlib import Path

import pexpect
import psycopg
import pytest
from peers.chat_exports import CHATGPT
from peers.claude_code import Transcript
from peers.pages import DOCS, README, Typist, pattern, steps
from peers.tool_sessions import TOOLS

pytestmark = pytest.mark.once

SESSION = "cli-1757350466684"
"""As the pages call a session that is there already."""

ALL = [README, *sorted(page.name for page in DOCS.glob("*.md"))]
PAGES = [page for page in ALL if any(step.not_run is None for step in steps(page))]
NOT_RUN = {
    README: ["make run", "make test", "uv tool install ."],
    "hub.md": ["uv tool install '.[hub]'"],
    "mcp.md": ['bwrap … --bind "$(port42 socket-path --read)" "$(port42 socket-path --read)" …'],
    "service.md": [
        "port42 service install",
        "port42 service status",
        "port42 service logs -f",
        "port42 service uninstall",
    ],
}


@pytest.fixture
def typist(fresh_user, process):
    folder = fresh_user.home.parent
    programs = Path(fresh_user.argv[0]).parent
    (folder / "scripts").mkdir()
    typist = Typist(process, fresh_user.environment, folder)
    typist.set_environment(PATH=f"{folder / 'scripts'}:{programs}")
    typist.stands_for = {"/home/ada/.local/bin": str(programs)} | typist.stands_for
    typist.folder, typist.port42 = folder, fresh_user
    return typist


def backends(typist, _):
    """The first agent of the page, and a session of it that a program of the reader's answers in."""
    example = re.search(r"```toml\n(.*?)```", (DOCS / "backends.md").read_text(), re.DOTALL)[1]
    typist.port42.home.mkdir(mode=0o700)
    (typist.port42.home / "config.toml").write_text(example)
    typist.port42.rpc("create_session", agent="ai-muse", session_id=SESSION)
    for word in ("One", "Two"):
        params = {"agent": "ai-muse", "session_id": SESSION, "role": "user", "content": word}
        typist.port42.rpc("append_message", **params)
    typist.stands_for["ID"] = SESSION


def capture(typist, _):
    """Folders of Claude Code and Codex with sessions, and a Claude Code that writes while it is followed."""
    shutil.copytree(TOOLS / "claude" / "plan", typist.folder / ".claude")
    shutil.copytree(TOOLS / "codex" / "tools", typist.folder / ".codex")
    shutil.copytree(TOOLS / "codex" / "tools", typist.folder / "elsewhere" / ".codex")

    def choose(child):
        for tool, answer in (("claude", "y"), ("codex", "none")):
            child.expect(rf"Capture {tool} for @{tool}\?.*: ")
            child.sendline(answer)

    def look(child):
        """The tool goes on until it is seen: what it wrote before that may be older than the subscription."""
        transcript = Transcript(typist.folder / ".claude" / "projects", "/home/ada/mill")
        transcript.user("How much flour?")
        transcript.assistant("Three sacks of flour.")
        while child.expect(["Three sacks of flour", pexpect.TIMEOUT], timeout=1):
            transcript.assistant("Three sacks of flour.")
        child.sendintr()

    typist.person |= {"port42 capture on": choose, "port42 follow @claude": look}
    typist.exit_codes["port42 follow @claude"] = 130


def conversation(typist, _):
    """Somebody who says a word at each prompt, and leaves."""

    def talk(child):
        child.expect("/help for help")
        child.send("one word\r")
        child.expect(r"\n\d+\.\d s · echo")  # behind the reply; how often a line is drawn varies
        child.send("exit\r")

    def choose(child):
        child.expect("one word")
        child.send("\r")
        talk(child)

    for words in ("possess @echo", "possess @echo -c"):
        typist.person[f"port42 {words}"] = talk
    typist.person["port42 resume"] = choose


def hosts(typist, request):
    """An sshd on loopback, which asks for a key and not for a name."""
    machine = request.getfixturevalue("machine")
    typist.set_environment(PATH=f"{machine.folder}/bin")
    typist.stands_for["ssh://me@devbox:2222"] = f"ssh://{getpass.getuser()}@devbox:{machine.port}"
    typist.person["port42 --host devbox dial-stdio"] = lambda child: child.sendeof()


def hub(typist, request):
    """A PostgreSQL with the roles of the page, and the session that it shares."""
    server = request.getfixturevalue("postgres")
    [roles] = re.findall(r"```sql\n(.*?)```", (DOCS / "hub.md").read_text(), re.DOTALL)
    with psycopg.connect(server.url("postgres"), autocommit=True) as connection:
        for statement in roles.split("\n"):
            connection.execute(statement)
    for role in ("admin", "ada"):
        typist.stands_for[f"postgresql://{role}@db.example.org/port42"] = f"'{server.url('port42', role)}'"
    password = typist.folder / ".config" / "port42" / "hub"
    password.parent.mkdir(parents=True)
    password.touch(mode=0o600)
    password.write_text("…")
    typist.port42.rpc("create_session", agent="ai-engineer", session_id=SESSION)
    params = {"agent": "ai-engineer", "session_id": SESSION, "role": "user", "content": "build a parser"}
    typist.port42.rpc("append_message", **params)


def import_export(typist, _):
    """What the tools wrote, where they write it; a browser and an `llm` that are scripts."""
    here = {
        "claude/plan": ".claude",
        "codex/tools/sessions": ".codex/sessions",
        "gemini/tools/tmp": ".gemini/tmp",
        "opencode/all/opencode": ".local/share/opencode",
        "copilot/tools": ".copilot",
        "pi/tools": ".pi/agent",
        "aider/edit": "project",
        "llm/all": ".config/io.datasette.llm",
        "../imports/aichat": ".config/aichat",
        "../imports/original": "old-home/.port42/sessions",
    }
    for source, target in here.items():
        shutil.copytree(TOOLS / source, typist.folder / target)
    with zipfile.ZipFile(typist.folder / "export.zip", "w") as archive:
        archive.writestr("conversations.json", json.dumps([CHATGPT]))
    scripts = {
        "llm": f"echo {typist.folder}/.config/io.datasette.llm/logs.db",
        "browser": 'test -f "${1#file://}"',
    }
    for name, line in scripts.items():
        program = typist.folder / "scripts" / name
        program.write_text(f"#!/bin/sh\n{line}\n")
        program.chmod(0o700)
    typist.set_environment(BROWSER=str(typist.folder / "scripts" / "browser"))
    typist.port42("possess", "@ai-engineer", "build a parser")
    typist.stands_for |= {"REF": "last", "PATH": "~/.claude", "@AGENT": "@ai-engineer"}


def readme(typist, request):
    """A folder under git, a `claude`, a session of it that it deletes, the configuration of the page."""
    typist.leaves_out = True
    mcp(typist, request)
    [config] = re.findall(r"```toml\n(.*?)```", (DOCS / README).read_text(), re.DOTALL)
    typist.port42.home.mkdir(mode=0o700)
    (typist.port42.home / "config.toml").write_text(config)
    (typist.folder / "README.md").write_text("Read me.\n")
    subprocess.run(["git", "init", "-q"], cwd=typist.folder, check=True)
    (typist.folder / "scripts" / "claude").write_text("#!/bin/sh\n")
    (typist.folder / "scripts" / "claude").chmod(0o700)
    shutil.copytree(TOOLS / "claude" / "plan", typist.folder / ".claude")

    def lose():
        while not (known := typist.port42.rpc("list_sessions", agent="claude")["sessions"]):
            pass
        typist.stands_for["REF"] = known[0]["session_id"]
        shutil.rmtree(typist.folder / ".claude")

    def leave(child):
        child.expect("Ctrl-D to quit")
        child.send("exit\r")

    def interrupt(child):
        child.expect("Following @ai-muse")
        child.sendintr()

    typist.person["port42 possess @ai-engineer --session last"] = leave
    typist.before["port42 capture restore REF"] = lose
    typist.person["port42 follow @ai-muse"] = interrupt
    typist.exit_codes |= {"port42 follow @ai-muse": 130, "port42 possess @ai-muse --session last": 1}


def mcp(typist, _):
    """A configuration of Claude Code, and somebody who agrees."""
    (typist.folder / ".claude.json").write_text('{\n  "numStartups": 3,\n  "theme": "dark"\n}\n')

    def agree(child):
        child.expect(r"\[y/N\]: ")
        child.sendline("y")

    typist.person["port42 mcp install claude"] = agree


OTHER_PROGRAMS = ("git", "socat")
"""What the pages use beside Port42, and a machine may lack."""

PREPARE = {
    README: readme,
    "backends.md": backends,
    "capture.md": capture,
    "conversation.md": conversation,
    "hosts.md": hosts,
    "hub.md": hub,
    "import-export.md": import_export,
    "mcp.md": mcp,
    "tutorial.md": None,
}


def test_what_is_not_run_is_known():
    found = {page: [step.command for step in steps(page) if step.not_run] for page in ALL}
    assert {page: commands for page, commands in found.items() if commands} == NOT_RUN
    assert list(PREPARE) == PAGES


@pytest.mark.parametrize("page", PAGES)
def test_each_command_shows_what_the_page_says(page, typist, request):
    if PREPARE[page]:
        PREPARE[page](typist, request)
    missing = {name for name in OTHER_PROGRAMS if not shutil.which(name)}
    left_out = []
    for step in steps(page):
        if step.not_run is None:
            if missing & set(step.command.split()):
                left_out.append(step.command)
            else:
                typist.type(step)
    if left_out:
        pytest.skip(f"all but these were run: {left_out} (not installed: {sorted(missing)})")


def test_a_text_that_differs_is_noticed():
    assert re.fullmatch(pattern("Session: cli-1757350466684"), "Session: cli-1795718956630")
    assert not re.fullmatch(pattern("Session: cli-1757350466684"), "Session: x")
    assert not re.fullmatch(pattern("Recorded (1 message)."), "Recorded (2 messages).")
    assert re.fullmatch(pattern("one\n  …\nfour"), "one\ntwo\nthree\nfour")
    assert not re.fullmatch(pattern("one\n…\nfour"), "one\ntwo\nfive")
