"""The service's files: what would change, ours or not, written whole or not at all, put back."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import unified_diff
from pathlib import Path

from port42_cli.service.supervisor import MARK
from port42_client.errors import Refused


@dataclass(frozen=True, slots=True)
class Change:
    """A file as it is (None: it is not there) and as it should be (None: gone)."""

    path: Path
    before: str | None
    after: str | None

    @property
    def kind(self) -> str:
        """``create``, ``change``, ``remove`` or ``keep``."""
        if self.before == self.after:
            return "keep"
        if self.before is None:
            return "create"
        return "remove" if self.after is None else "change"

    @property
    def foreign(self) -> bool:
        """Whether what is there was not written by us."""
        return self.before is not None and (MARK not in self.before or self.path.is_symlink())


def changes_to(wanted: Mapping[Path, str | None]) -> list[Change]:
    return [Change(path, _read(path), text) for path, text in wanted.items()]


def shown(changes: Sequence[Change]) -> Iterator[str]:
    """The changes, to be shown: each path, with a new file's text or a diff."""
    for change in changes:
        yield f"{change.kind} {change.path}"
        before, after = (change.before or "").splitlines(), (change.after or "").splitlines()
        if change.kind == "create":
            yield from (f"    {line}" for line in after)
        elif change.kind == "change":
            diff = list(unified_diff(before, after, lineterm="", n=1))
            yield from (f"    {line}" for line in diff[2:])


def carry_out(changes: Iterable[Change]) -> None:
    """Write and remove. Raises `Refused`, with what was done already undone."""
    done: list[Change] = []
    for change in changes:
        try:
            _put(change.path, change.after)
        except OSError as error:
            left = put_back(done)
            but = f"all but {', '.join(map(str, left))} is as it was" if left else "nothing was changed"
            raise Refused(f"cannot write {change.path}: {error.strerror or error}; {but}") from None
        done.append(change)


def put_back(changes: Iterable[Change]) -> list[Path]:
    """Make the files what they were; gives those that could not be."""
    left = []
    for change in changes:
        try:
            _put(change.path, change.before)
        except OSError:
            left.append(change.path)
    return left


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="surrogateescape")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Refused(f"cannot read {path}: {error.strerror or error}") from None


def _put(path: Path, text: str | None) -> None:
    if text is None:
        path.unlink(missing_ok=True)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    replace(path, text.encode(errors="surrogateescape"), 0o644)


def replace(path: Path, data: bytes, mode: int) -> None:
    """Put `data` at `path`, whole or not at all. Raises OSError."""
    descriptor, aside = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            os.fchmod(file.fileno(), mode)
            file.flush()
            os.fsync(file.fileno())
        Path(aside).replace(path)
    except BaseException:
        Path(aside).unlink(missing_ok=True)
        raise


def shipped_text(folder: str, name: str) -> str:
    """A file of the repository's folders ``systemd`` and ``launchd``; a wheel has them beside this module."""
    shipped = Path(__file__).parent / "shipped" / folder
    if not shipped.is_dir():
        shipped = Path(__file__).parents[3] / folder
    return (shipped / name).read_text(encoding="utf-8")
