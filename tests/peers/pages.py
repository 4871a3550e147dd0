"""The commands in a page of the documentation, and what the page says that they show.

    steps("tutorial.md")     # the commands of its blocks `console` (behind `$ `) and `sh` (each line)
    typist = Typist(process, environment, folder)
    typist.type(step)        # at a terminal, as a person would; checks what it shows

A block whose commands cannot be run has the line `<!-- not run: REASON -->` before it.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pexpect
from peers.processes import Processes, Terminal

DOCS = Path(__file__).resolve().parents[2] / "docs"
README = "../README.md"
_BLOCK = re.compile(
    r"(?:^<!-- not run: (?P<reason>[^\n]*) -->\n)?^```(?P<language>console|sh)\n(?P<text>.*?)^```",
    re.MULTILINE | re.DOTALL,
)
_VARIES = (
    (r"cli-\d{8,13}", r"cli-\d{8,13}"),
    (r"\d{8}T\d{6}", r"\d{8}T\d{6}"),
    (r"\d{4}-\d\d-\d\d \d\d:\d\d", r"\d{4}-\d\d-\d\d \d\d:\d\d"),
    (r"\d+ s ago", r"(\d+ \w+ ago|now)"),
    (r"\d+\.\d s", r"\d+\.\d s"),
    (r"pid \d+", r"pid \d+"),
    (r"(?m:^ *…$)", r"(?s:.*)"),
    (r"…", r".*"),
)
"""What differs from one time to the next, and what it always is; `…` stands for any text, alone for lines."""

_PATIENCE = 60.0


@dataclass(frozen=True)
class Step:
    """A command, what the page shows of it (nothing: it is not compared), and why it is not run."""

    command: str
    shown: str = ""
    not_run: str | None = None


def steps(page: str) -> list[Step]:
    """The commands of a page, in its order, without their comments."""
    found = []
    for block in _BLOCK.finditer((DOCS / page).read_text()):
        text = re.sub(r"\\\n *", "", block["text"])  # what a backslash continues is one line
        if block["language"] == "sh":
            pairs = [(line, "") for line in text.splitlines()]
        else:
            pairs = re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", text, re.MULTILINE)
        for command, shown in pairs:
            found.append(Step(re.sub(r"\s+# .*", "", command), shown.rstrip("\n"), block["reason"]))
    return found


def pattern(shown: str) -> str:
    """An expression for the text with what varies in it; blanks are as wide as the columns need."""
    varying = re.compile("|".join(f"(?P<v{number}>{found})" for number, (found, _) in enumerate(_VARIES)))
    parts, position = [], 0
    for match in varying.finditer(shown):
        parts += [re.escape(shown[position : match.start()]), _VARIES[int(str(match.lastgroup)[1:])][1]]
        position = match.end()
    parts.append(re.escape(shown[position:]))
    return re.sub(r"(\\ )+", r" +", "".join(parts))


class Typist:
    """Types commands in `folder`, which is what the pages call /home/ada; what is exported lasts."""

    def __init__(self, process: Processes, environment: Mapping[str, str], folder: Path) -> None:
        self._process, self._folder = process, folder
        self._environment = {**environment, "NO_COLOR": "1", "PROMPT_TOOLKIT_NO_CPR": "1"}
        self.stands_for: dict[str, str] = {"/home/ada": str(folder)}
        """Words of the page, such as the address of a server, and what they are here."""
        self.person: dict[str, Callable[[Terminal], None]] = {}
        """What the person does at a command that waits for somebody."""
        self.before: dict[str, Callable[[], None]] = {}
        """What has happened meanwhile when a command is typed."""
        self.exit_codes: dict[str, int] = {}
        """Those that are not 0."""
        self.leaves_out = False
        """Whether the page shows some lines only."""

    def set_environment(self, **values: str) -> None:
        """From now on; a folder for PATH goes before the others."""
        if "PATH" in values:
            values["PATH"] += f":{self._environment['PATH']}"
        self._environment |= values

    def type(self, step: Step) -> None:
        """Run it to its end, which must be a good one, and compare what it shows."""
        if step.command in self.before:
            self.before[step.command]()
        command, shown = self._here(step.command), self._here(step.shown)
        if exported := re.fullmatch(r"export (\w+)=(\S+)", command):
            self.set_environment(**{exported[1]: exported[2]})
            return
        child = self._process.at_terminal(
            ["bash", "-c", command],
            # What changes lines that are shown already is for a person's eyes.
            env=self._environment | {"TERM": "xterm" if step.command in self.person else "dumb"},
            cwd=str(self._folder),
            timeout=_PATIENCE,
            dimensions=(40, 120),
        )
        child.delaybeforesend = None
        child.logfile_read = io.StringIO()
        if step.command in self.person:
            self.person[step.command](child)
        child.expect(pexpect.EOF)
        child.close()
        output = child.logfile_read.getvalue().replace("\r\n", "\n").rstrip("\n")
        assert child.exitstatus == self.exit_codes.get(step.command, 0), (command, output)
        if shown:
            said = "\n".join(line.rstrip() for line in output.split("\n"))
            lines = [pattern(line) for line in shown.split("\n")] if self.leaves_out else [pattern(shown)]
            between = r"\n(?:.*\n)*?"
            assert re.fullmatch(between.join(lines) + f"(?:{between}.*)?" * self.leaves_out, said), (
                f"{command}\n{said}"
            )

    def _here(self, text: str) -> str:
        for word, meant in self.stands_for.items():
            text = re.sub(rf"(?<![\w-]){re.escape(word)}(?![\w-])", lambda _, meant=meant: meant, text)
        return text
