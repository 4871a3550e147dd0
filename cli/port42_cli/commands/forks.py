"""`port42 fork`, `rewind`, `tree`: continue a session, or an earlier point of it, in a new one."""

from __future__ import annotations

import click

from port42_cli import plain_text, streams, views
from port42_cli.commands import _shared
from port42_cli.completion import complete
from port42_cli.conversation.send import CLIENT, announce, folder_for
from port42_cli.session_end import last_questions
from port42_client.client import Client, decode
from port42_client.daemon import Daemon
from port42_client.errors import Refused
from port42_protocol.messages.records import Summary


@click.command()
@_shared.ref
@_shared.whose
@click.option("--at", "at_seq", type=_shared.Integer(min=1), metavar="SEQ", help="Its last record to keep.")
@click.option(
    "--to", "to_agent", metavar="@AGENT", shell_complete=complete.agents, help="Whose the new one is to be."
)
@click.option("--title", metavar="TEXT", help="The new one's title.")
@_shared.as_json("The new session as JSON.")
@click.pass_obj
def fork(  # noqa: PLR0913, PLR0917 - a parameter for each option
    daemon: Daemon,
    ref: str,
    agent: str | None,
    at_seq: int | None,
    to_agent: str | None,
    title: str | None,
    as_json: bool,
) -> None:
    """Create a session with the messages of another.

    The other one is not changed.

    REF is an id, a unique prefix of 4 or more characters, a title, @AGENT or last. SEQ is a number that
    `port42 show` shows; without it all messages are copied. If SEQ is a question, it can be answered again.
    """
    with daemon.client() as client:
        session = _shared.find(client, ref, agent)
        _fork(client, session, as_json=as_json, at_seq=at_seq, to_agent=to_agent, title=title)


@click.command()
@_shared.ref
@click.argument("seq", required=False, type=_shared.Integer(min=1))
@_shared.whose
@click.option("--turns", type=_shared.Integer(min=1), metavar="N", help="Without the last N questions.")
@_shared.as_json("The new session as JSON.")
@click.pass_obj
def rewind(  # noqa: PLR0913, PLR0917 - a parameter for each option
    daemon: Daemon, ref: str, seq: int | None, agent: str | None, turns: int | None, as_json: bool
) -> None:
    """Continue from an earlier point of a session.

    Creates a fork with everything through record SEQ, or without the last N turns.

    Nothing is lost: the original stays as it is. REF is an id, a unique prefix of 4 or more characters, a
    title, @AGENT or last.
    """
    if (seq is None) == (turns is None):
        raise click.UsageError("expected SEQ or --turns N, one of them")
    with daemon.client() as client:
        session = _shared.find(client, ref, agent)
        if turns is not None:
            seq = _seq_before(client, session, turns)
        _fork(client, session, as_json=as_json, at_seq=seq)


@click.command()
@_shared.ref
@_shared.whose
@_shared.as_json("The family as JSON, as session_tree gives it.")
@click.pass_obj
def tree(daemon: Daemon, ref: str, agent: str | None, as_json: bool) -> None:
    """Show what a session was forked from, and all forks. REF is an id, a prefix, a title, @AGENT or last."""
    with daemon.client() as client:
        session = _shared.find(client, ref, agent)
        answer = client.ask("session_tree", {"session_id": session.session_id})
    if as_json:
        streams.as_json(answer)
        return
    from port42_cli.views import forks_and_trash as view
    from port42_protocol.messages.forks_and_trash import Family

    family = decode(Family, answer)
    views.show(view.tree(family.nodes, session.session_id, streams.now()))
    if not family.complete:
        streams.notice(f"There are more: these are the first {len(family.nodes):,}.")


def _fork(client: Client, session: Summary, *, as_json: bool, **options: int | str | None) -> None:
    params = {"session_id": session.session_id, **options, "client": CLIENT, "cwd": folder_for(client)}
    made = client.ask("fork_session", params)
    if as_json:
        streams.as_json(made)
    else:
        announce(made["session_id"])
        streams.banner(plain_text.to_go_on(made["agent"], made["session_id"]))


def _seq_before(client: Client, session: Summary, turns: int) -> int:
    """The seq before the question that began the last `turns` turns. Raises `Refused`."""
    questions = last_questions(client, session.session_id, turns)
    most = len(questions) - sum(question.seq == 1 for question in questions)
    if most < 1:
        raise Refused("--turns: expected a session with more than one question")
    if most < turns:
        raise Refused(f"--turns: expected at most {most}, so that something is left of the session")
    return questions[0].seq - 1
