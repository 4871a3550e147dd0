"""The service files as the repository's folders `systemd` and `launchd` have them."""

from __future__ import annotations

from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path


def text(folder: str, name: str) -> str:
    """A file of one of the two folders, which the wheel has beside this module.

    An editable install has them where the sources are.
    """
    shipped: Traversable = files("port42_cli.service") / "shipped" / folder
    if not shipped.is_dir():
        shipped = Path(__file__).parents[3] / folder
    return (shipped / name).read_text(encoding="utf-8")
