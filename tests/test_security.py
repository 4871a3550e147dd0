"""SECURITY.md names a test for each promise; each of them is there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

pytestmark = pytest.mark.once

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "SECURITY.md").read_text()


def rows():
    """The promises, each with the cell that names its tests."""
    tables = TEXT.partition("## Promises")[2]
    lines = [line.strip("|").split("|") for line in tables.splitlines() if line.startswith("|")]
    return [
        (promise.strip(), tests) for promise, tests in lines if promise.strip(" -") not in {"", "promise"}
    ]


def test_every_promise_names_a_test():
    assert len(rows()) > 20
    for promise, tests in rows():
        assert re.findall(r"`(tests/[^`]+)`", tests), promise


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`(tests/[^`]+::[^`]+)`", TEXT))))
def test_every_test_that_is_named_is_there(name):
    path, _, function = name.partition("::")
    defined = [
        node.name
        for node in ast.walk(ast.parse((ROOT / path).read_text()))
        if isinstance(node, ast.FunctionDef)
    ]
    assert function in defined
