"""systemd's units as text: the shipped ones with the paths of one installation. Pure.

How words, specifiers and escapes are read: systemd.syntax(7), systemd.unit(5), systemd.service(5).
"""

from __future__ import annotations

import re

from port42_cli.service.supervisor import MARK, ServiceTarget
from port42_client.errors import Refused

HEADER = (
    f"# {MARK}, which replaces it.\n# For changes of your own: systemctl --user edit {{name}} (a drop-in)\n"
)

# Lone surrogates are bytes that are not UTF-8.
_NOT_IN_A_PROGRAM = re.compile(r"""["'\\\x00-\x1f\x7f\ud800-\udfff]""")
_NOT_IN_AN_ADDRESS = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]|[\s\\]$")


def service(template: str, target: ServiceTarget) -> str:
    """``port42.service`` for `target`. Raises `Refused` when systemd takes no such path."""
    program, *arguments = target.program
    if _NOT_IN_A_PROGRAM.search(program):
        what = "no program whose path has quotes, backslashes or control characters"
        raise Refused(f"systemd starts {what}: {program!r}")
    # Without the colon systemd takes $ for a variable in every word but the first.
    argv = " ".join([word(f":{program}"), *map(word, arguments)])
    path = f'Environment="PATH={_escaped(target.search_path)}"'
    start = re.compile(r"^ExecStart=\S+(?P<more> .*)?$", flags=re.MULTILINE)
    text = start.sub(lambda line: f"ExecStart={argv}{line['more'] or ''}\n{path}", template)
    return _headed(text, "port42.service")


def socket(template: str, address: str) -> str:
    """``port42.socket`` listening at `address`. Raises `Refused` when systemd takes no such path."""
    if _NOT_IN_AN_ADDRESS.search(address):
        raise Refused(f"systemd cannot listen at {address!r}: name another path with PORT42_SOCKET")
    listening = f"ListenStream={address.replace('%', '%%')}"
    text = re.sub(r"^ListenStream=.*$", lambda _: listening, template, flags=re.MULTILINE)
    return _headed(text, "port42.socket")


def listens_at(text: str) -> str | None:
    """The address in a rendered ``port42.socket``, None when there is none."""
    match = re.search(r"^ListenStream=(/.*)$", text, flags=re.MULTILINE)
    return match[1].replace("%%", "%") if match else None


def word(text: str) -> str:
    """`text` as one word of a command line, which systemd reads back exactly.

    Bytes that are not UTF-8 (lone surrogates) come back as themselves. A NUL cannot be said.
    """
    return text if re.fullmatch(r"[\w@:=,./+-]+", text, flags=re.ASCII) else f'"{_escaped(text)}"'


def _escaped(text: str) -> str:
    quoted = re.sub(r'["\\]', r"\\\g<0>", text).replace("%", "%%")
    return re.sub(r"[\x00-\x1f\x7f\udc80-\udcff]", _escaped_byte, quoted)


def _escaped_byte(character: re.Match[str]) -> str:
    return f"\\x{character[0].encode(errors='surrogateescape').hex()}"


def _headed(text: str, name: str) -> str:
    """With our mark in place of what the template says to those who copy it."""
    return HEADER.format(name=name) + text[text.index("[Unit]") :]
