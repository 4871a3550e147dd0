"""The log: readable lines, written by a thread so that a slow pipe does not block the daemon."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator
from logging.handlers import QueueHandler, QueueListener, RotatingFileHandler
from pathlib import Path
from queue import SimpleQueue

from port42_daemon.process.home_lock import CannotStart

_BYTES, _KEPT = 1024 * 1024, 3


@contextlib.contextmanager
def logging_to(path: Path | None) -> Iterator[None]:
    """Log to `path`, rotated at 1 MiB with three kept, or to stderr without one.

    Raises `CannotStart` for an unknown ``PORT42_LOG_LEVEL``, and OSError when `path` cannot be written.
    """
    level = os.environ.get("PORT42_LOG_LEVEL", "INFO").upper()
    if level not in {"DEBUG", "INFO", "WARNING", "ERROR"}:
        raise CannotStart(f"PORT42_LOG_LEVEL: expected DEBUG, INFO, WARNING or ERROR, got {level}")
    # A FIFO or a folder in the log's place must not keep a daemon from starting, nor hold it up.
    usable = path is not None and (path.is_file() or not os.path.lexists(path))
    handler: logging.Handler = (
        RotatingFileHandler(path, maxBytes=_BYTES, backupCount=_KEPT, encoding="utf-8")
        if path is not None and usable
        else logging.StreamHandler()
    )
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%Y-%m-%d %H:%M:%S"))
    lines: SimpleQueue[logging.LogRecord] = SimpleQueue()
    listener = QueueListener(lines, handler)
    listener.start()
    ours = logging.getLogger("port42_daemon")
    ours.setLevel(level)
    ours.propagate = False
    queue = QueueHandler(lines)
    ours.addHandler(queue)
    # jsonrpcserver logs every exception it meets, with the request; ours are logged under an id.
    logging.getLogger("jsonrpcserver").setLevel(logging.CRITICAL)
    if path is not None and not usable:
        ours.warning("⚠ %s is not a file: the log goes to stderr", path.name)
    try:
        yield
    finally:
        ours.removeHandler(queue)
        listener.stop()
        handler.close()
