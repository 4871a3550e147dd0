"""What an import unpacks is in the home, and goes with the import, or at the next start."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import zipfile
from pathlib import Path

from peers.chat_exports import CHATGPT

from port42_daemon.rpc.cancellation import Cancellation
from port42_daemon.transfer import imports
from port42_daemon.transfer.imports import Importer
from port42_protocol.messages.transfer import ImportSessions


def many_conversations(path: Path) -> Path:
    """A zip with more conversations than one call imports."""
    copies = [{**CHATGPT, "conversation_id": f"c-{number}"} for number in range(1_100)]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("conversations.json", json.dumps(copies))
    return path


def test_what_a_killed_daemon_has_unpacked_is_deleted_at_the_next_start(start_daemon, home, tmp_path):
    daemon = start_daemon()
    packed = many_conversations(tmp_path / "export.zip")
    assert daemon.call("import_sessions", path=str(packed), agent="ada", dry_run=True)["next_cursor"]
    assert list((home / "temporary").iterdir())
    daemon.kill()
    daemon = start_daemon()
    assert not list((home / "temporary").iterdir())
    daemon.stop()
    assert not (home / "temporary").exists()


def test_what_is_unpacked_goes_when_nobody_asks_for_the_next_page(rules, tmp_path, monkeypatch):
    def no_history():
        raise OSError("no history")

    monkeypatch.setattr(imports, "_KEPT_SECONDS", 0.01)
    importer = Importer(rules.sessions, rules.queues, rules.config, lambda: ([], []), no_history, rules.home)
    packed = many_conversations(tmp_path / "export.zip")

    async def give_up():
        forgotten, forget = asyncio.Event(), importer._forget
        monkeypatch.setattr(importer, "_forget", lambda: (forget(), forgotten.set()))
        asked = ImportSessions(path=str(packed), agent="ada", dry_run=True)
        page = await importer.import_sessions(asked, Cancellation())
        [copy] = {source.path for source in importer._listing.sources}
        await asyncio.wait_for(forgotten.wait(), 10)
        assert not copy.exists()
        forgotten.clear()
        onward = dataclasses.replace(asked, cursor=page.next_cursor)
        assert (await importer.import_sessions(onward, Cancellation())).done > page.done
        await asyncio.wait_for(forgotten.wait(), 10)

    asyncio.run(give_up())
