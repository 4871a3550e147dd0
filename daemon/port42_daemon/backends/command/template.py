"""A program's argv, from the template, and its stdin, from the turn. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from port42_daemon.backends.base import Turn

_PLACE = re.compile(r"\{(system|model|native_id|cwd)\}")
# An argument that only names something: `{model}`, `--model={model}`.
_ONLY = re.compile(r"(-[\w-]*=)?\{(system|model|native_id|cwd)\}")


def names(template: Sequence[str], name: str) -> bool:
    return any(f"{{{name}}}" in argument for argument in template)


def argv(template: Sequence[str], values: Mapping[str, str | None]) -> list[str]:
    """`template` with its places filled from `values`.

    An argument that only names something unset is left out with the flag before it. What is filled in
    is not looked at again: a persona may well speak of ``{model}``.
    """
    filled: list[str] = []
    for argument in template:
        only = _ONLY.fullmatch(argument)
        if only is not None and not values.get(only[2]):
            if only[1] is None and len(filled) > 1 and filled[-1].startswith("-"):
                filled.pop()
            continue
        filled.append(_PLACE.sub(lambda name: values.get(name[1]) or "", argument))
    return filled


def transcript(turn: Turn, system: str | None) -> str:
    """The persona, what was said before, and the message: the message alone when there is nothing else."""
    messages = [message for message in turn.history if isinstance(message.content, str)]
    if not messages and not system:
        return turn.message
    parts = [system] if system else []
    if messages:
        parts.append("The conversation so far:")
        parts += [f"[{message.role}]\n{message.content}" for message in messages]
        parts.append("The message to answer now:")
    return "\n\n".join([*parts, turn.message])
