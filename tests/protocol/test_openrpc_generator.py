"""OpenRPC's own generator reads the document: types of TypeScript, Rust and Go for every method."""

from __future__ import annotations

import dataclasses
import re
import subprocess
from pathlib import Path

import pytest
from peers import tools

from port42_protocol.codec import encode
from port42_protocol.methods import METHODS
from port42_protocol.openrpc import document

pytestmark = pytest.mark.once


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with what it wrote."""
    program, folder = tools.openrpc_typings(), tmp_path_factory.mktemp("types")
    (folder / "openrpc.json").write_bytes(encode(document()))
    languages = [f"--{option}-{name}" for name in ("ts", "rs", "go") for option in ("output", "name")]
    values = [value for name in ("ts", "rs", "go") for value in (".", name)]
    options = [part for pair in zip(languages, values, strict=True) for part in pair]
    subprocess.run([program, "-d", "openrpc.json", *options], cwd=folder, check=True, capture_output=True)
    return folder


def test_every_method_has_its_parameters_and_its_result(generated: Path) -> None:
    text = (generated / "ts.ts").read_text()
    functions = re.findall(r"^export type (\S+) = \((.*)\) => Promise<(\w+)>;$", text, re.MULTILINE)
    found = {name: (re.findall(r"(\w+)\??: ", params), result) for name, params, result in functions}
    assert found == {
        "".join(part[:1].upper() + part[1:] for part in re.split(r"[._/]", row.name)): (
            [field.name for field in dataclasses.fields(row.params)],
            row.result.__name__,
        )
        for row in METHODS.values()
    }


def test_values_to_choose_from_are_said(generated: Path) -> None:
    """What has no type in the document is ``any`` in the code, which anything fits."""
    text = (generated / "ts.ts").read_text()
    assert '"answered" | "interrupted" | "recorded"' in text
    untyped = re.findall(r"^export type (\w+) = any;$", text, re.MULTILINE)
    meant = [name for name in untyped if re.search(rf"\b{name}\b", text.replace(f"type {name}", ""))]
    assert len(meant) <= 1, "only what may be any JSON value: metadata"


@pytest.mark.parametrize("name", ["rs.rs", "go.go"])
def test_other_languages_have_every_result(generated: Path, name: str) -> None:
    text = (generated / name).read_text()
    assert all(re.search(rf"\b{row.result.__name__}\b", text) for row in METHODS.values())
