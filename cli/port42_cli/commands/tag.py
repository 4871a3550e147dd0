"""`port42 tag REF +a -b`: tags put on a session and taken off."""

from __future__ import annotations

import click

from port42_cli.commands import _label
from port42_cli.completion import complete
from port42_client.daemon import Daemon


# A tag to take off looks like an option, so there are no short ones here but -h.
@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("ref", shell_complete=complete.refs)
@click.argument("tags", nargs=-1, type=click.UNPROCESSED, metavar="[[+]TAG | -TAG]…")
@click.option(
    "--agent", metavar="@AGENT", shell_complete=complete.agents, help="Whose; REF may then be `last`."
)
@click.option("--json", "as_json", is_flag=True, help="The session as JSON.")
@click.pass_obj
def tag(daemon: Daemon, ref: str, tags: tuple[str, ...], agent: str | None, as_json: bool) -> None:
    """Put tags on a session and take others off.

    TAG and +TAG put one on, -TAG takes it off; without any, those that it has are shown.
    REF is an id, a unique prefix of 4 or more characters, or a title.
    """
    changes = {
        "add": [one.removeprefix("+") for one in tags if not one.startswith("-")],
        "remove": [one.removeprefix("-") for one in tags if one.startswith("-")],
    }
    summary = _label.mark(daemon, "tag_session", ref, agent, changes)
    _label.say(summary, " ".join(summary["tags"]) or "no tags", as_json=as_json)
