"""What a file in the trash is called: which session it was, when it was thrown away, and whose it was.

cli-1757350466684.20261123T033711042Z.ai-muse.json
"""

from __future__ import annotations

import re

import msgspec

NAME = re.compile(
    r"(?P<id>[A-Za-z0-9][A-Za-z0-9_-]{0,63})\.(?P<at>\d{8}T\d{9}Z)\.(?P<agent>[A-Za-z0-9][A-Za-z0-9._-]{0,63})"
    r"\.json",
    re.ASCII,
)
_AT = re.compile(r"(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)(\d{3})Z")


class Entry(msgspec.Struct, frozen=True, order=True, gc=False):
    """One file in the trash, as its name tells of it; in the order of the times."""

    at: str
    session_id: str
    agent: str

    @classmethod
    def of(cls, trashed_at: str, session_id: str, agent: str) -> Entry:
        """The entry of what was trashed then, an RFC 3339 time."""
        return cls(re.sub(r"[-:.]", "", trashed_at), session_id, agent)

    @property
    def name(self) -> str:
        """The file's."""
        return f"{self.session_id}.{self.at}.{self.agent}.json"

    @property
    def trashed_at(self) -> str:
        """RFC 3339, as everywhere else."""
        return _AT.sub(r"\1-\2-\3T\4:\5:\6.\7Z", self.at)
