"""Writes the golden files that are derived from the dataclasses (openrpc.json, rpc.discover.jsonl).

    python tests/golden/regenerate.py [FOLDER]

Run it after a change to a request, a result, an error or the method table, and read the diff: it
is what other people's clients will meet. The other files here are written by hand.
"""

import sys
from pathlib import Path

import msgspec

from port42_protocol import openrpc
from port42_protocol.codec import encode
from port42_protocol.errors import InvalidParams


def regenerate(folder: Path) -> None:
    document = openrpc.document()
    # Indented, so that a diff shows the field that changed and not one line of 28 kB.
    (folder / "openrpc.json").write_bytes(msgspec.json.format(encode(document)) + b"\n")
    refusal = InvalidParams(
        "expected at most 0 positional parameters, got 1",
        field=None,
        expected="at most 0 positional parameters",
    )
    error = {"code": refusal.code, "message": refusal.message, "data": refusal.data}
    lines = [
        {"jsonrpc": "2.0", "method": "rpc.discover", "id": 1},
        {"jsonrpc": "2.0", "result": document, "id": 1},
        {"jsonrpc": "2.0", "method": "rpc.discover", "params": ["status"], "id": 2},
        {"jsonrpc": "2.0", "error": error, "id": 2},
    ]
    (folder / "rpc.discover.jsonl").write_bytes(b"".join(encode(one) + b"\n" for one in lines))


if __name__ == "__main__":
    regenerate(Path(sys.argv[1]) if sys.argv[1:] else Path(__file__).parent)
