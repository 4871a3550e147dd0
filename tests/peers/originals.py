"""The originals that capture keeps, as a test sees them and as earlier versions wrote them."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec

from port42_daemon.transfer.capture.original_rows import Original
from port42_daemon.transfer.capture.originals import Damaged, Originals


def original_of_claude(path="/x/one.jsonl"):
    return Original("claude", path, "2026-01-01T00:00:00.000Z", sessions={"claude-1": "1"})


def kept(daemon):
    """The originals that there are, and their bytes, seen in a copy: the daemon has locked its own."""
    with TemporaryDirectory() as folder:
        try:
            for path in sorted(daemon.home.glob("originals.db*")):
                shutil.copy(path, folder)
            with contextlib.closing(Originals(Path(folder))) as originals:
                return [(each, b"".join(originals.data(each))) for each in originals.all()]
        except (OSError, Damaged):  # it was being written
            return []


def kept_bytes(daemon):
    return sum(len(data) for _, data in kept(daemon))


def as_a_file(home, original, data, *, beside=False, name="0123456789abcdef"):
    """An original as earlier versions kept it, described in the file or beside it; returns its size."""
    description = msgspec.json.encode(
        {name: value for name, value in msgspec.to_builtins(original).items() if name not in {"size", "id"}}
    )
    file = home / "originals" / original.tool / f"{name}-{original.generation}.z"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes((b"" if beside else description.ljust(1024)) + data)
    if beside:
        file.with_suffix(".json").write_bytes(msgspec.json.format(description))
    return file.stat().st_size
