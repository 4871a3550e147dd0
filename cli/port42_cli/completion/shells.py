"""The shells that complete what is typed behind ``port42``, as click knows them; bash in our own way."""

from __future__ import annotations

import os

from click import Command
from click.shell_completion import (
    CompletionItem,
    FishComplete,
    ShellComplete,
    ZshComplete,
    add_completion_class,
    split_arg_string,
)

VARIABLE = "_PORT42_COMPLETE"
"""In the environment, it has click complete instead of running a command."""

_BASH = """\
%(complete_func)s() {
    local value
    COMPREPLY=()
    while IFS= read -r value; do
        [[ -n $value ]] && COMPREPLY+=("$value")
    done < <(env COMP_LINE="${COMP_LINE:0:COMP_POINT}" COMP_WORDBREAKS="$COMP_WORDBREAKS" \\
        %(complete_var)s=bash_complete %(prog_name)s 2>/dev/null)
}
complete -o nosort -F %(complete_func)s %(prog_name)s 2>/dev/null ||
    complete -F %(complete_func)s %(prog_name)s
"""


class BashComplete(ShellComplete):
    """Bash takes a word apart at each of ``COMP_WORDBREAKS``, and puts what is chosen behind the last one.

    ``@`` is among them, and yet it belongs to what is put in place (readline's `rl_special_prefixes`).
    With click's own class no ``@agent`` can be completed.
    """

    name = "bash"
    source_template = _BASH

    def get_completion_args(self) -> tuple[list[str], str]:
        """The whole words before the cursor, and the one it is in."""
        line = os.environ["COMP_LINE"]
        # With a letter behind it, what the cursor is in is a word even if nothing was typed of it.
        *words, typed = split_arg_string(line + "x")
        return words[1:], typed[:-1]

    def complete(self) -> str:
        """A line for each value, without what bash keeps of the word."""
        _, typed = self.get_completion_args()
        breaks = set(os.environ.get("COMP_WORDBREAKS", "")) - set(" \t\n\"'@")
        kept = typed[: max((typed.rfind(character) + 1 for character in breaks), default=0)]
        # Behind `--option=` click's values are those of the option, with nothing before them.
        kept = kept.rpartition("=")[2] if kept.startswith("-") else kept
        values = (item.value for item in self.get_completions(*self.get_completion_args()))
        return "\n".join(value[len(kept) :] for value in values if value.startswith(kept))

    def format_completion(self, item: CompletionItem) -> str:
        return str(item.value)


class FishWithCommas(FishComplete):
    """Click's, but for its script, which cuts a description off at its first comma."""

    source_template = FishComplete.source_template.replace('string split ","', 'string split --max 1 ","')


SHELLS: dict[str, type[ShellComplete]] = {"bash": BashComplete, "zsh": ZshComplete, "fish": FishWithCommas}


def script(shell: str, command: Command) -> str:
    return SHELLS[shell](command, {}, "port42", VARIABLE).source()


def prepare() -> None:
    for shell in SHELLS.values():
        add_completion_class(shell)
