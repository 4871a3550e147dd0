"""What is generated of the program: the manual page in the repository, the pages of the reference."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from msgspec import structs

from port42_daemon import config
from port42_daemon.store.session_file import document
from port42_protocol.messages.events import SessionEvent
from port42_protocol.methods import METHODS

pytestmark = pytest.mark.once

ROOT = Path(__file__).resolve().parents[2]
GENERATORS = ROOT / "docs" / "generators"


@pytest.fixture(scope="module")
def reference():
    spec = importlib.util.spec_from_file_location("reference", GENERATORS / "reference.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_manual_page_is_what_the_help_texts_say():
    done = subprocess.run(
        [sys.executable, GENERATORS / "manual_page.py"], capture_output=True, text=True, check=True
    )
    assert done.stdout == (ROOT / "docs" / "man" / "port42.1").read_text(), "`make man` writes it anew"


@pytest.mark.skipif(shutil.which("man") is None, reason="no man here")
def test_man_can_show_it_without_a_warning():
    command = ["man", "--warnings", "--local-file", ROOT / "docs" / "man" / "port42.1"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert re.search(r"^ +port42 export \[OPTIONS\]", done.stdout, re.MULTILINE)


def test_every_command_has_its_options(reference):
    page = reference.commands()
    commands = [context.command_path for context, _ in reference.walk()]
    assert len(commands) > 40
    for path in commands:
        assert re.search(rf"^#+ `{path}`$", page, re.MULTILINE)
    assert "| `--timeout" not in page
    assert "| `-y, --yes` | Do not ask. |" in page


def test_every_method_event_and_table_has_its_fields(reference):
    methods, events, tables = reference.methods(), reference.events(), reference.config()
    for name in METHODS:
        assert f"\n## `{name}`\n" in methods
    for event in SessionEvent.__args__:
        assert f"\n## `{event.__struct_config__.tag}`\n" in events
    for field in structs.fields(config.CommandBackend):
        assert f"| `{field.encode_name}` |" in tables


def test_links_in_the_reference_lead_to_what_it_has(reference):
    page = reference.methods()
    anchors = {heading.lower() for heading in re.findall(r"^## (\w+)$", page, re.MULTILINE)}
    targets = set(re.findall(r"\]\(#(\w+)\)", page))
    assert targets
    assert targets <= anchors


def test_the_example_of_the_format_is_a_session_that_is_read():
    text = (ROOT / "docs" / "session-format.md").read_text()
    data = re.search(r"```json\n(.*?)```", text, re.DOTALL)[1].encode()
    read = document.load(lambda offset, length: data[offset : offset + length], len(data))
    records = [record for record, _ in document.records(lambda o, n: data[o : o + n], read, 0)]
    assert [record.role for record in records] == ["user", "tool", "assistant", "event"]
    folded = document.empty_fold(read.header)
    for record in records:
        folded = document.fold(folded, record)
    assert folded == read.footer
    for record_or_end in (read.header, read.footer):
        for field in structs.fields(record_or_end):
            assert f"`{field.encode_name}`" in text
