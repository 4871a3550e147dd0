"""Settings of one run of the daemon: paths, limits, times."""

from __future__ import annotations

from pathlib import Path

from msgspec import Struct

from port42_protocol.codec import NESTING_LIMIT
from port42_protocol.framing import REQUEST_LIMIT
from port42_protocol.messages.daemon import Limits
from port42_protocol.messages.types import StartedBy

BATCH_LIMIT = 50
BATCH_AT_ONCE = 8
PAGE_BYTES = 4 * 1024 * 1024
METADATA_BYTES = 16 * 1024


class Settings(Struct, frozen=True):
    """Absolute paths, limits (bytes, counts) and times (seconds)."""

    home: Path
    socket: Path
    started_by: StartedBy = "hand"  # what started the daemon, and so may replace it by a newer version
    umask: int = 0o022  # the user's umask, for back ends' programs; the daemon's own files have 077
    request_bytes: int = REQUEST_LIMIT
    connections: int = 128
    requests_per_connection: int = 64
    predecessor_wait: float = 20.0
    """How long to wait for a stopping daemon to release the lock: its grace, and a margin."""
    grace: float = 10.0  # how long running requests may take after the daemon is told to stop

    @property
    def limits(self) -> Limits:
        return Limits(
            request_bytes=self.request_bytes,
            page_bytes=PAGE_BYTES,
            nesting=NESTING_LIMIT,
            batch=BATCH_LIMIT,
            connections=self.connections,
        )
