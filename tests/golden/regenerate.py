"""Writes what is derived from the dataclasses: openrpc.json here, and since.json of the protocol's package.

    python tests/golden/regenerate.py [FOLDER]

Run it after a change to a request, a result, an error, an example or the method table, and read the diff: it
is what other people's clients will meet. What is new is of the version `port42_protocol.__version__`.
With FOLDER both files are written there.
"""

import json
import sys
from pathlib import Path

import msgspec

from port42_protocol import __version__, openrpc
from port42_protocol.codec import encode


def regenerate(golden: Path, data: Path) -> None:
    (data / "since.json").write_text(history(openrpc.versions()), encoding="utf-8")
    openrpc.versions.cache_clear()
    document = msgspec.to_builtins(openrpc.document())
    # The examples stand in files of their own.
    for described in (*document["methods"], *document["components"]["schemas"].values()):
        described.pop("examples", None)
        described.pop("x-error-examples", None)
    # Indented, so that a diff shows the field that changed and not one line of 100 kB.
    (golden / "openrpc.json").write_bytes(msgspec.json.format(encode(document)) + b"\n")


def history(known: dict[str, str]) -> str:
    """What there is now, by the version in which it appeared, a line for each method or type."""
    versions: dict[str, dict[str, list[str]]] = {version: {} for version in known.values()}
    versions.setdefault(__version__, {})
    for owner, fields in openrpc.fields().items():
        versions[known.get(owner, __version__)].setdefault(owner, [])
        for field in fields:
            since = known.get(f"{owner}.{field}", __version__)
            versions[since].setdefault(owner, []).append(field)
    blocks = [
        f"{json.dumps(version)}: {{\n"
        + ",\n".join(f"  {json.dumps(owner)}: {json.dumps(fields)}" for owner, fields in owners.items())
        + "\n}"
        for version, owners in versions.items()
        if owners
    ]
    return "{\n" + ",\n".join(blocks) + "\n}\n"


if __name__ == "__main__":
    folders = [Path(sys.argv[1])] * 2 if sys.argv[1:] else [Path(__file__).parent, openrpc.DATA]
    regenerate(*folders)
