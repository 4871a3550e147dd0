"""MkDocs runs this: the pages that are made of the program are added to the site while it is built."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import reference
from mkdocs.structure.files import File, Files
from pictures import pictures

ROOT = Path(__file__).resolve().parents[2]


def on_files(files: Files, config: Any) -> Files:
    pages = {
        "reference/commands.md": reference.commands(),
        "reference/methods.md": reference.methods(),
        "reference/events.md": reference.events(),
        "reference/config.md": reference.config(),
        "security.md": _rewritten("SECURITY.md"),
        "changelog.md": _rewritten("CHANGELOG.md"),
    }
    for path, text in (pages | {f"pictures/{name}.svg": svg for name, svg in pictures().items()}).items():
        files.append(File.generated(config, path, content=text))
    return files


def _rewritten(name: str) -> str:
    """A document of the repository's root, with its links to `docs` as they are in there."""
    return re.sub(r"\]\(docs/", "](", (ROOT / name).read_text(encoding="utf-8"))
