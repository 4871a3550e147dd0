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

_NOT_IN_A_PROGRAM = re.compile(r"""["'\\\x00-\x1f\x7f]""")
_NOT_IN_AN_ADDRESS = re.compile(r"[\x00-\x1f\x7f]|[\s\\]$")


def service(template: str, target: ServiceTarget) -> str:
    """``port42.service`` for `target`. Raises `Refused` when systemd takes no such path."""
    if _NOT_IN_A_PROGRAM.search(target.program[0]) or not _is_text(target.program[0]):
        raise Refused(
            f"systemd starts no program whose path has quotes, backslashes or control characters:"
            f" {target.program[0]!r}"
        )
    # Without the colon systemd takes $ for a variable in every word but the first.
    argv = " ".join([word(f":{target.program[0]}"), *map(word, target.program[1:])])

    def started(line: re.Match[str]) -> str:
        further = line["further"] or ""
        return f"ExecStart={argv}{further}\n{environment('PATH', target.search_path)}"

    text, count = re.subn(r"^ExecStart=\S+(?P<further> .*)?$", started, template, flags=re.MULTILINE)
    assert count == 1, "port42.service has one ExecStart"  # noqa: S101 - it is shipped with us
    return _headed(text, "port42.service")


def socket(template: str, address: str) -> str:
    """``port42.socket`` listening at `address`. Raises `Refused` when systemd takes no such path."""
    if _NOT_IN_AN_ADDRESS.search(address) or not _is_text(address):
        raise Refused(f"systemd cannot listen at {address!r}: name another path with PORT42_SOCKET")
    listening = f"ListenStream={address.replace('%', '%%')}"
    text, count = re.subn(r"^ListenStream=.*$", lambda _: listening, template, flags=re.MULTILINE)
    assert count == 1, "port42.socket has one ListenStream"  # noqa: S101 - it is shipped with us
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


def environment(name: str, value: str) -> str:
    return f'Environment="{name}={_escaped(value)}"'


def _escaped(text: str) -> str:
    return "".join(map(_escape, text))


def _escape(character: str) -> str:
    if character in '"\\':
        return f"\\{character}"
    if character == "%":
        return "%%"
    if character < " " or character == "\x7f" or "\udc80" <= character <= "\udcff":
        return "".join(f"\\x{byte:02x}" for byte in character.encode(errors="surrogateescape"))
    return character


def _is_text(path: str) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True


def _headed(text: str, name: str) -> str:
    """With our mark in place of what the template says to those who copy it."""
    return HEADER.format(name=name) + text[text.index("[Unit]") :]
