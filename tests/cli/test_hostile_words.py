"""Words from outside on their way to a terminal: whoever wrote them, no command lets it obey them.

A scripted daemon answers with words that a terminal would obey wherever a result, an event or an error has
a text: names, titles, tags, folders, models, contents, tools, reasons. Every command shows them.
"""

from __future__ import annotations

import contextlib
import json
import re
import unicodedata

import msgspec
import pexpect
import pytest

from port42_cli.app import COMMANDS
from port42_protocol import __version__, errors
from port42_protocol.messages.events import SessionEvent
from port42_protocol.messages.records import RECORDS, Record
from port42_protocol.methods import METHODS

# The clipboard, a title, the cursor, colours by C1, a title by C1, text that runs backwards, a rung bell.
OBEYED = "\x1b]52;c;SEFDSw==\x07\x1b[66;6H\x9b31m\x9d0;t\x9c\u202e\u2066\u2067\u061c\u200f\x08\x7f\u2028"
WORD = f"wo{OBEYED}rd"
MARKDOWN = (
    f"{WORD} <http://a/%1b[66;6H> &#27;[66;6H &#x202e; ![{WORD}](<{WORD}>) `{WORD}`\n\n```{WORD}\n{WORD}\n```"
)
HUB = "postgresql://hub/port42"
TIME = "2026-11-23T11:57:00.000Z"
INSTEAD = {
    "version": __version__,
    "protocol_version": 1,
    "since": "2026-11-01",
    "next_cursor": None,
    "next_after_seq": None,
    "more": False,
    "complete": True,
    "hours": [1] * 24,
    "marks": [{"start": 0, "end": 3}],
    "content": MARKDOWN,
    "reply": MARKDOWN,
}


PLAIN = {"IntType": 3, "FloatType": 3.0, "BoolType": False, "AnyType": WORD}


def filled(kind, name=""):  # noqa: C901, PLR0911 - one case for each kind of type
    """A value of that type, in plain values, with words that are obeyed wherever there is a text."""
    if name in INSTEAD:
        return INSTEAD[name]
    match msgspec.inspect.type_info(kind) if isinstance(kind, type) else kind:
        case msgspec.inspect.CustomType(cls=cls) if cls is Record:
            return filled(RECORDS["assistant"])
        case msgspec.inspect.StructType(fields=fields, tag=tag, tag_field=tag_field):
            own = {tag_field: tag} if tag_field else {}
            return own | {field.name: filled(field.type, field.name) for field in fields}
        case msgspec.inspect.StrType():
            times = {"timestamp", "last_activity", "at"}
            return TIME if name in times or name.endswith("_at") else WORD
        case msgspec.inspect.LiteralType(values=values):
            return values[0]
        case msgspec.inspect.UnionType(types=types):
            if name == "parent" and isinstance(types[0], msgspec.inspect.StrType):
                return None  # the root of a tree
            return filled(
                next(option for option in types if not isinstance(option, msgspec.inspect.NoneType)), name
            )
        case msgspec.inspect.VarTupleType(item_type=item) | msgspec.inspect.ListType(item_type=item):
            return records() if name == "messages" else [filled(item)]
        case msgspec.inspect.DictType(value_type=value):
            return {WORD: filled(value)}
        case msgspec.inspect.Metadata(type=inner):
            return filled(inner, name)
        case other:
            return PLAIN[type(other).__name__]


def records():
    return [filled(kind) | {"seq": seq} for seq, kind in enumerate(RECORDS.values(), 1)]


def events():
    for kind in SessionEvent.__args__:
        event = filled(kind)
        if event["kind"] == "message":
            yield from (event | {"message": record} for record in records())
        elif event["kind"] not in {"permission", "overflow"}:
            yield event


def answers(talk):
    """A daemon that answers whatever it is asked, and tells everything that may happen meanwhile."""
    while (request := talk.request()) is not None:
        if "id" not in request:
            continue
        if request["method"] in {"possess", "retry_turn", "subscribe"}:
            for event in events():
                talk.send({"jsonrpc": "2.0", "method": "session_event", "params": event})
        talk.answer(request, filled(METHODS[request["method"]].result))


def shown_by(child):
    """All that it sent to its terminal until it ended."""
    with contextlib.suppress(pexpect.EOF):
        child.expect(pexpect.EOF)
    return child.before


def assert_harmless(text):
    assert "\x1b]" not in text
    assert "\x1b[66" not in text
    assert not {c for c in text if unicodedata.category(c) == "Cc"} - set("\x1b\r\n\t")
    assert not set(OBEYED) - set("\x1b") & {c for c in text if ord(c) > 0x7F}
    # What is left of escapes are those of drawing: colours, lines that are drawn again, the cursor's looks.
    assert not re.sub(r"\x1b\[[0-9;?]*[A-KhlmnJK]|\x1b[=>78]", "", text).count("\x1b")


SHOWS = {
    "possess": [
        ["@a", "hi"],
        ["@a", "hi", "-s", WORD],  # without a message it would wait for one
        ["@a", "hi", "--json"],
        ["@a", "hi", "--if-busy", "follow"],
    ],
    "sessions": [[], ["--json"], ["--parent", WORD]],
    "show": [[WORD], [WORD, "--events", "--full"], [WORD, "--no-tools"], [WORD, "--json"]],
    "search": [["x"], ["x", "--json"]],
    "rename": [[WORD, "title"], [WORD, "title", "--json"]],
    "tag": [[WORD, "t"], [WORD, "t", "--json"]],
    "pin": [[WORD], [WORD, "--json"]],
    "unpin": [[WORD], [WORD, "--json"]],
    "fork": [[WORD], [WORD, "--json"]],
    "rewind": [[WORD, "1"], [WORD, "1", "--json"]],
    "tree": [[WORD], [WORD, "--json"]],
    "rm": [[WORD, "-y"], [WORD, "--dry-run"], [WORD, "-y", "--json"]],
    "restore": [[WORD], [WORD, "--json"], ["nothing"]],
    "trash": [[], ["--json"]],
    "prune": [["--older-than", "1", "-y"], ["--older-than", "1", "--dry-run", "--json"]],
    "export": [[WORD]],
    "import": [["/x", "@a"], ["/x", "@a", "--json"]],
    "capture": [[], ["--json"], ["on", WORD], ["on", "-y"], ["off", WORD], ["restore", WORD]],
    "agents": [
        *([], ["--json"], ["show", "@a"], ["show", "@a", "--json"], ["test", "@a"], ["add", "a"]),
        *(["connect", "@a", "b"], ["remove", "@a", "-y"]),
    ],
    "status": [[], ["--json"]],
    "doctor": [[], ["--json"]],
    "stats": [[], ["--json"]],
    "du": [[], ["--json"]],
    "index": [[], ["--json"], ["rebuild"]],
    "share": [[WORD], [WORD, WORD], [WORD, WORD, "--may-write", "--json"]],
    "unshare": [[WORD, WORD]],
    "hub": [[], ["--json"], ["init", HUB], ["pause"], ["resume"], ["leave", "-y"]],
    "daemon": [["reload"]],
    "rpc": [["status"], ["get_session", f"session_id={WORD}"], ["list_agents"]],
}
"""What each command is typed with."""
STILL = {"acp", "help", "version", "resume", "follow", "mcp", "service", "socket-path", "completion"}
STILL |= {"dial-stdio"}


"""Those that show nothing of a daemon's words, or have a test of their own."""


def test_every_command_is_walked():
    assert set(SHOWS) | STILL == set(COMMANDS)


TYPED = [[], *([name, *args] for name, calls in SHOWS.items() for args in calls)]
ERRORS = [kind for kind in vars(errors).values() if isinstance(kind, type) and hasattr(kind, "code")]
REFUSED = [
    (["show", WORD], kind) for kind in ERRORS if kind is not errors.ShuttingDown
]  # which is waited for
REFUSED += [
    (typed, errors.BackendFailed) for typed in (["possess", "@a", "hi"], ["rpc", "status"], ["doctor"])
]
MISTYPED = [
    *(["help", WORD], ["possess", WORD, "--model", "x"], ["possess", f"{WORD} {WORD}"], [f"@{WORD}", "hi"]),
    *([WORD], ["sessions", "--state", WORD], ["sessions", f"--{WORD}"], ["rpc", "status", WORD], ["show"]),
    *(["possess", "@a", "-r", WORD], ["prune", "--older-than", WORD], ["status", "--watch", WORD]),
    ["--host", WORD, "status"],
    *(["--socket", f"/{WORD}/s", *more] for more in (["status"], ["doctor"], ["socket-path"])),
]


@pytest.mark.parametrize("typed", TYPED, ids=lambda typed: "-".join(typed).replace(WORD, "X"))
def test_no_command_lets_a_terminal_obey_a_daemons_words(terminal, peer, typed):
    fake = peer(*[answers] * 4)
    page = shown_by(terminal(*typed, PORT42_SOCKET=fake.path))
    assert "Traceback" not in page
    assert fake.requests, page
    assert "this version of port42 expects" not in page
    assert_harmless(page)


@pytest.mark.parametrize(("typed", "kind"), REFUSED)
def test_nor_an_errors(terminal, peer, typed, kind):
    names = ("ref", "agent", "owner", "session_id", "field", "expected", "method", "error_id")
    session = {"session_id": WORD, "agent": WORD, "title": WORD, "last_activity": TIME}
    data = dict.fromkeys(names, WORD) | {"candidates": [session], "suggestions": [WORD]}

    def refuses(talk):
        while (request := talk.request()) is not None:
            talk.refuse(request, kind.code, WORD, kind=getattr(kind, "kind", WORD), **data)

    page = shown_by(terminal(*typed, PORT42_SOCKET=peer(*[refuses] * 4).path))
    assert "Traceback" not in page
    assert "wo" in page
    assert_harmless(page)


@pytest.mark.parametrize("typed", MISTYPED, ids=lambda typed: "-".join(typed).replace(WORD, "X"))
def test_nor_what_was_typed(terminal, typed):
    page = shown_by(terminal(*typed, PORT42_NO_AUTOSTART="1"))
    assert "Traceback" not in page
    assert_harmless(page)


@pytest.mark.parametrize(
    "typed", [["possess", "@a", "hi"], ["show", WORD], ["agents", "test", "@a"], ["rpc", "status"]]
)
def test_nor_does_one_that_calls_itself_dumb(terminal, peer, typed):
    page = shown_by(terminal(*typed, PORT42_SOCKET=peer(*[answers] * 4).path, TERM="dumb"))
    assert "wo" in page
    assert_harmless(page)


def test_nor_what_a_conversation_shows(terminal, peer):
    fake = peer(*[answers] * 4)
    talk = terminal("possess", "@a", "-s", WORD, PORT42_SOCKET=fake.path)
    page = ""
    for typed in (
        *("/sessions", "/agent", "/model", "/model x", "/retry", "/rename x", "/fork @b", "/rewind"),
        *("hi", "/switch last", "/nonsense", f"/{WORD[:2]}\t", "/end"),
    ):
        talk.expect("›")
        page += talk.before
        talk.send(f"{typed}\r")
    page += shown_by(talk)
    assert "Traceback" not in page
    assert {"possess", "retry_turn", "fork_session", "end_session"} <= {r["method"] for r in fake.requests}
    assert_harmless(page)


@pytest.mark.parametrize("more", [[], ["--full"], ["--no-tools"]])
def test_nor_what_happens_while_it_follows(terminal, peer, more):
    child = terminal("follow", WORD, "--since", "0", *more, PORT42_SOCKET=peer(*[answers] * 4).path)
    child.expect(r"error[^·]*4\s+·")
    page = child.before
    child.sendintr()
    assert_harmless(page + shown_by(child))


def test_json_at_a_terminal_is_still_the_same_value(terminal, peer):
    page = shown_by(terminal("rpc", "list_agents", PORT42_SOCKET=peer(answers).path))
    assert json.loads(page)["agents"][0]["model"] == WORD
