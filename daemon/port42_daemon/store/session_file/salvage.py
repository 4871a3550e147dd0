"""Making a damaged session whole again: every whole message kept, the original kept beside it."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from port42_daemon import durable
from port42_daemon.store.session_file.document import compose, salvage


def set_aside(path: Path) -> Path:
    """Give `path` a second name, ``….damaged-<time>``, that outlives its replacement."""
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%f")
    beside = path.with_name(f"{path.name}.damaged-{stamp}")
    # A hard link: the original's own bytes, at once, also on a full disk.
    os.link(path, beside)
    durable.sync_folder(path.parent)
    return beside


def recover(path: Path, keep: Callable[[Path], Path] = set_aside) -> tuple[int, int, Path]:
    """Rewrite the session at `path` from its whole lines; gives messages kept, lines lost, the original.

    `keep` gives the original another name. Raises `Damaged` when not even the header can be read (then
    nothing is touched) and OSError.
    """
    header, kept, lost = salvage(path.read_bytes())
    data, document = compose(header, kept)
    original = keep(path)
    durable.replace(path, data)
    return document.footer.message_count, lost, original
