"""JSON where memory is short: an error, not the end of the process."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from port42_protocol.encoding import encode

SOURCES = Path(__file__).parents[2]
SHORT_OF_MEMORY = """
import resource, sys
from port42_protocol.encoding import encode
text = "x" * 5_000_000
[size] = [line.split()[1] for line in open("/proc/self/status") if line.startswith("VmSize")]
most = int(size) * 1024 + 2_000_000
resource.setrlimit(resource.RLIMIT_AS, (most, most))
try:
    encode({"text": text})
except MemoryError:
    print("an error")
"""


def test_it_is_compact():
    assert encode({"a": [1, "é", None]}) == '{"a":[1,"é",null]}'.encode()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux keeps this limit")
def test_where_its_buffer_cannot_grow_there_is_an_error():
    done = subprocess.run(
        [sys.executable, "-c", SHORT_OF_MEMORY], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout) == (0, "an error\n"), done.stderr


def test_nobody_encodes_with_what_ends_the_process():
    ending = re.compile(r"json\.encode\(|Encoder\(\)\.encode\b")
    using = [
        str(path)
        for folder in ("daemon", "cli", "protocol")
        for path in (SOURCES / folder).rglob("*.py")
        if ending.search(path.read_text(encoding="utf-8"))
    ]
    assert using == []
