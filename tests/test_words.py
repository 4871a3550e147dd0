"""Names say what a thing is: those here once stood for nearly everything, and told a reader nothing."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

pytestmark = pytest.mark.once

ROOT = Path(__file__).resolve().parents[1]
MEANINGLESS = {"one", "found", "said", "asked", "place"}
"""Say what it is: a session, a row, a record, rows, a result, a text, a request, a position."""
METAPHORS = {"House", "Hearing", "Unfed", "Noted", "Swept", "mended", "as_it_went", "Ear", "Answering"}
"""Names of an earlier version, whose meaning had to be learned."""


def names_in(source):
    """Every class, function, parameter, variable and attribute that is named, with its line."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.ClassDef(name=name) | ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                yield name, node.lineno
            case ast.arg(arg=name) | ast.Name(id=name) | ast.Attribute(attr=name):
                yield name, node.lineno
            case ast.alias(asname=str(name)):
                yield name, node.lineno


def forbidden(source):
    return [(name, line) for name, line in names_in(source) if name.lstrip("_") in MEANINGLESS | METAPHORS]


@pytest.mark.parametrize("package", ["cli", "daemon", "protocol"])
def test_no_name_without_a_meaning(package):
    sources = list((ROOT / package).rglob("*.py"))
    assert sources
    bad = {str(path.relative_to(ROOT)): forbidden(path.read_text()) for path in sources}
    assert {path: names for path, names in bad.items() if names} == {}


@pytest.mark.parametrize(
    "source",
    [
        "class House: ...",
        "class _Ear: ...",
        "def place(): ...",
        "async def said(): ...",
        "lambda one: 1",
        "found = 1",
        "[1 for asked in x]",
        "self._one = 1",
        "import x as mended",
        "if (found := x): ...",
    ],
)
def test_every_kind_of_name_is_seen(source):
    assert len(forbidden(source)) == 1
