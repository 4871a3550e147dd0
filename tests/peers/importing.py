"""What a daemon imports, page by page, and what is then in a session."""

from __future__ import annotations


def import_all(daemon, path, **params):
    """Every page of an import: (imported, skipped, unchanged)."""
    imported, skipped, unchanged, done = [], [], 0, 0
    cursor = None
    while True:
        page = daemon.call(
            "import_sessions", path=str(path), **params, **({"cursor": cursor} if cursor else {})
        )
        imported += page["imported"]
        skipped += page["skipped"]
        unchanged += page["unchanged"]
        assert page["done"] > done or page["total"] == 0
        done, cursor = page["done"], page["next_cursor"]
        if cursor is None:
            assert done == page["total"]
            return imported, skipped, unchanged


def transcript(daemon, session_id):
    return daemon.call("get_session", session_id=session_id, events=True)
