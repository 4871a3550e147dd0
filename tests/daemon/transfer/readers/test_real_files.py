"""Files that the tools themselves wrote (tests/data/tools): what is read of each, a line for each record.

``python tests/daemon/transfer/readers/test_real_files.py`` writes what is expected anew.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from port42_daemon.config import SessionsConfig
from port42_daemon.transfer.readers.base import Skipped
from port42_daemon.transfer.readers.detect import sources
from port42_protocol.activity import describe, one_line
from port42_protocol.messages.records import Activity, EventRecord, Message

DATA = Path(__file__).parents[3] / "data" / "tools"
EXPECTED = Path(__file__).with_name("expected")
TOOLS = sorted(folder.name for folder in DATA.iterdir() if folder.is_dir())


def lines_of(tool):
    """What is read of all files of a tool."""
    for case in sorted((DATA / tool).iterdir()):
        for source in sources(case, "auto")[1]:
            try:
                sessions = source.read(SessionsConfig())
            except Skipped as reason:
                yield f"{case.name}: {source.key}: {reason}"
                continue
            for session in sessions:
                info = session.info
                parent = f", of {info.parent}" if info.parent else ""
                cwd = str(info.cwd).removeprefix(f"{DATA}/")
                yield f"{case.name}: {source.key}: {info.source_id}{parent}: {info.title}: {cwd}"
                yield from (f"  {location}: {reason}" for location, reason in session.problems)
                yield from (f"  {line_of(record)}" for record in session.records)


def line_of(record):
    match record:
        case Activity():
            return f"{record.role}: {describe(record)}"
        case EventRecord():
            tokens = record.turn and f"{record.turn.input_tokens} + {record.turn.output_tokens}"
            return f"event: {record.event} {one_line(str(record.content or tokens), 60)}"
        case Message():
            turn = getattr(record, "turn", None)
            facts = f" ({turn.model}, {turn.input_tokens} + {turn.output_tokens})" if turn else ""
            return f"{record.role}: {one_line(record.content, 80)}{facts}"


@pytest.mark.parametrize("tool", TOOLS)
def test_a_tools_files_are_read(tool):
    assert list(lines_of(tool)) == (EXPECTED / f"{tool}.txt").read_text(encoding="utf-8").splitlines()


def test_there_are_files_of_each_format():
    assert {"claude", "codex", "llm"}.issubset(TOOLS)


if __name__ == "__main__":
    EXPECTED.mkdir(exist_ok=True)
    for name in TOOLS:
        text = "".join(f"{line}\n" for line in lines_of(name))
        (EXPECTED / f"{name}.txt").write_text(text, encoding="utf-8")
