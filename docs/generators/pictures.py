"""Pictures of a terminal, as SVG: what the program shows, in a home that is made for them and removed."""

from __future__ import annotations

import fcntl
import io
import os
import pty
import re
import struct
import subprocess
import sys
import tempfile
import termios
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.text import Text

COLUMNS = 80
_CONVERSATIONS = (
    ("@echo", "build a parser for the query language"),
    ("@echo", "Parsers\n\n1. **Recursive descent**: by hand\n2. `PEG`: from a grammar"),
    ("@ai-analyst", "analyze this data"),
    ("@ai-engineer", "build a parser"),
)
PICTURES = {
    "overview": (),
    "status": ("status",),
    "agents": ("agents",),
    "show": ("show", "@echo"),
}
"""For each picture the words behind ``port42``."""


def pictures() -> dict[str, str]:
    """Each picture's name and its SVG."""
    with tempfile.TemporaryDirectory(prefix="p42-") as folder, _home(Path(folder)) as environ:
        for agent, message in _CONVERSATIONS:
            _run(["possess", agent, message], environ)
        return {name: _svg(words, _shown(words, environ)) for name, words in PICTURES.items()}


@contextmanager
def _home(folder: Path) -> Iterator[dict[str, str]]:
    folder.chmod(0o700)
    own = {"HOME": str(folder), "XDG_RUNTIME_DIR": str(folder), "TERM": "xterm-256color"}
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PORT42_")}
    environ = inherited | own
    environ.pop("NO_COLOR", None)
    try:
        yield environ
    finally:
        _run(["daemon", "stop"], environ)


def _command(words: list[str] | tuple[str, ...]) -> list[str]:
    return [sys.executable, "-m", "port42_cli", *words]


def _run(words: list[str], environ: dict[str, str]) -> None:
    subprocess.run(
        _command(words), env=environ, stdin=subprocess.DEVNULL, capture_output=True, check=True, timeout=60
    )


def _shown(words: tuple[str, ...], environ: dict[str, str]) -> str:
    """What a terminal shows of a command, with its colours."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, COLUMNS, 0, 0))
    with subprocess.Popen(_command(words), env=environ, stdin=theirs, stdout=theirs, stderr=theirs) as child:
        os.close(theirs)
        shown = b"".join(_read(ours))
        os.close(ours)
    if child.returncode:
        raise RuntimeError(f"port42 {' '.join(words)} ended with {child.returncode}: {shown.decode()}")
    return shown.decode().replace("\r\n", "\n")


def _read(terminal: int) -> Iterator[bytes]:
    while True:
        try:
            data = os.read(terminal, 65536)
        except OSError:
            return  # how Linux says that the program closed it
        if not data:
            return
        yield data


def _svg(words: tuple[str, ...], shown: str) -> str:
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True)
    console.print(Text(f"$ {' '.join(['port42', *words])}", "bold"))
    console.print(Text.from_ansi(shown.rstrip("\n")))
    # Without the fonts that it would load from elsewhere.
    return re.sub(r"@font-face \{.*?\}", "", console.export_svg(title="Terminal"), flags=re.DOTALL)
