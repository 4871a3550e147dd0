"""Puts text on the clipboard: by a program of the platform, else by the terminal (OSC 52).

OSC 52 is xterm's "Manipulate Selection Data" (Xterm Control Sequences, "Operating System Commands"); whether
a terminal obeys it cannot be asked, so what was done is said, not that it worked.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from base64 import b64encode
from collections.abc import Mapping

from port42_cli import streams
from port42_client.errors import Refused
from port42_protocol.counting import count

_PATIENCE = 5.0
"""Seconds that a program may take."""


def copy(text: str, environ: Mapping[str, str] = os.environ) -> str:
    """Copy; gives a sentence that says what was done. Raises `Refused` where there is no way to."""
    characters = count(len(text), "character")
    if (argv := _program(environ)) and _run_with_input(argv, text, environ):
        return f"Copied {characters} with {argv[0]}."
    if not streams.can_draw():
        raise Refused("/copy: expected wl-copy, xclip, xsel or pbcopy, or a terminal with a clipboard")
    sys.stdout.write(f"\x1b]52;c;{b64encode(text.encode()).decode()}\x07")
    sys.stdout.flush()
    return f"Sent {characters} to the terminal's clipboard (OSC 52); some terminals ignore that."


def _program(environ: Mapping[str, str]) -> list[str] | None:
    """The command that copies its stdin to where the person is: not to another machine's clipboard."""
    if environ.get("TMUX"):  # it keeps OSC 52 for itself, unless it is told to hand it on (-w, tmux 3.2)
        programs = [["tmux", "load-buffer", "-w", "-"]]
    elif environ.get("SSH_CONNECTION"):
        programs = []
    elif sys.platform == "darwin":
        programs = [["pbcopy"]]
    elif environ.get("WAYLAND_DISPLAY"):
        programs = [["wl-copy"]]
    elif environ.get("DISPLAY"):
        programs = [["xclip", "-selection", "clipboard"], ["xsel", "--clipboard", "--input"]]
    else:
        programs = []
    path = environ.get("PATH")
    return next((argv for argv in programs if shutil.which(argv[0], path=path)), None)


def _run_with_input(argv: list[str], text: str, environ: Mapping[str, str]) -> bool:
    try:
        # A session of its own and no pipe back: xclip stays in the background as the clipboard's owner.
        done = subprocess.run(
            argv,
            input=text.encode(),
            env=environ,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=_PATIENCE,
            check=False,
            start_new_session=True,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0
