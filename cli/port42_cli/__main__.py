"""The process `port42` is: `app`, started and ended quickly."""

from __future__ import annotations

import gc
import os
import sys


def main() -> int:
    # A short run makes little garbage; not looking for it saves a seventh of a piped command's time.
    gc.disable()
    _open_what_is_closed()
    try:
        from port42_cli.app import main as app

        return app()
    except KeyboardInterrupt:
        return 130  # before there was a command to interrupt
    finally:
        gc.freeze()


def _open_what_is_closed() -> None:
    """Services and GUI programs start commands with standard streams closed.

    What is opened next, the socket say, would get their number, and be printed into.
    """
    for descriptor, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            # Read-only stdout: a command whose answer cannot be written says so. Errors cannot be shown.
            os.open(os.devnull, os.O_WRONLY if name == "stderr" else os.O_RDONLY)
            mode = "r" if name == "stdin" else "w"
            setattr(sys, name, open(descriptor, mode, encoding="utf-8", closefd=False))  # noqa: SIM115


if __name__ == "__main__":
    sys.exit(main())
