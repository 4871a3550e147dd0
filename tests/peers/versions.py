"""Port42 of other versions, as real code: an older wheel that was built, and this one called newer.

`environ` of one makes `python -m port42_cli` and `python -m port42_daemon` that version's. The older wheel
is `tests/data/port42-0.1.0-py3-none-any.whl`: what `pip wheel --no-deps .` made of version 0.1.0, the first
whose daemon says how it was started.
"""

from __future__ import annotations

import shutil
import zipfile
from dataclasses import dataclass
from pathlib import Path

import port42_cli
import port42_client
import port42_daemon
import port42_protocol

OLD = "0.1.0"
NEW = "9.0.0"
_WHEEL = Path(__file__).parents[1] / "data" / f"port42-{OLD}-py3-none-any.whl"


@dataclass(frozen=True)
class Version:
    """One version, unpacked in a folder of its own."""

    number: str
    environ: dict[str, str]


def older(folder: Path) -> Version:
    """The recorded wheel."""
    with zipfile.ZipFile(_WHEEL) as wheel:
        wheel.extractall(folder)
    return Version(OLD, {"PYTHONPATH": str(folder)})


def newer(folder: Path, protocol: int = port42_protocol.PROTOCOL_VERSION) -> Version:
    """This version's own code under a later number, speaking `protocol`."""
    for package in (port42_cli, port42_client, port42_daemon, port42_protocol):
        source = Path(str(package.__file__)).parent
        shutil.copytree(source, folder / source.name, ignore=shutil.ignore_patterns("__pycache__"))
    file = folder / "port42_protocol" / "__init__.py"
    text = file.read_text()
    for name, now, later in (
        ("__version__", f'"{port42_protocol.__version__}"', f'"{NEW}"'),
        ("PROTOCOL_VERSION", port42_protocol.PROTOCOL_VERSION, protocol),
    ):
        assert f"\n{name} = {now}\n" in text
        text = text.replace(f"\n{name} = {now}\n", f"\n{name} = {later}\n")
    file.write_text(text)
    return Version(NEW, {"PYTHONPATH": str(folder)})
