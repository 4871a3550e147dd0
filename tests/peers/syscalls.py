"""The real daemon with its calls of the system recorded, or one of them failed, without strace or LD_PRELOAD.

``python syscalls.py PLAN port42d-options…``: functions of `os` are wrapped as the plan (JSON) says, then the
daemon runs as ever. All that it changes goes through them, but for SQLite's files and its log.

    {"record": FILE}                                 every call that changes files, and its data
    {"fail": [N, …], "error": ERRNO, "calls": […]}   the Nth of these calls since it was ready;
                                                     "lasting": true   and all after the first
"""

from __future__ import annotations

import base64
import itertools
import json
import os
import runpy
import sys
import threading
from collections.abc import Callable
from typing import Any

CHANGES = [
    *("open", "close", "write", "pwrite", "ftruncate", "fdatasync", "fsync"),
    *("replace", "rename", "link", "unlink", "mkdir", "rmdir"),
]
READS = ["stat", "lstat", "fstat", "read", "pread", "scandir", "listdir", "statvfs", "fstatvfs"]
_ready = threading.Event()


def main() -> None:
    plan = json.loads(sys.argv[1])
    if "record" in plan:
        _record(plan["record"])
    else:
        _fail(plan)
    sys.argv[:] = ["port42d", *sys.argv[2:]]
    runpy.run_module("port42_daemon", run_name="__main__", alter_sys=True)


def _wrap(name: str, around: Callable[[Callable[..., Any], tuple[Any, ...], dict[str, Any]], Any]) -> None:
    real = getattr(os, name)

    def wrapped(*args: Any, **named: Any) -> Any:
        if name == "write" and len(args) == 2 and bytes(args[1]) == b"ready\n":
            result = real(*args, **named)
            _ready.set()
            return result
        return around(real, args, named)

    setattr(os, name, wrapped)


# --- record -------------------------------------------------------------------------------------------


def _record(path: str) -> None:
    log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    lock, write = threading.Lock(), os.write

    def recorder(name: str) -> Callable[..., Any]:
        def around(real: Callable[..., Any], args: tuple[Any, ...], named: dict[str, Any]) -> Any:
            with lock:  # so that the record has the order in which they took effect
                result = real(*args, **named)
                plain = [_plain(arg) for arg in args]
                write(
                    log,
                    json.dumps([name, plain, result if isinstance(result, int) else None]).encode() + b"\n",
                )
            return result

        return around

    for name in CHANGES:
        _wrap(name, recorder(name))
    # Copies in the kernel are not recorded: without it the daemon copies by reading and writing.
    del os.copy_file_range


def _plain(value: Any) -> Any:
    if isinstance(value, (bytes, bytearray, memoryview)):
        return {"data": base64.b64encode(bytes(value)).decode()}
    if hasattr(value, "__fspath__"):
        return os.fspath(value)
    return value


# --- fail ---------------------------------------------------------------------------------------------


def _fail(plan: dict[str, Any]) -> None:
    wanted, numbers = set(plan["fail"]), itertools.count(1)

    def around(real: Callable[..., Any], args: tuple[Any, ...], named: dict[str, Any]) -> Any:
        if not _ready.is_set():
            return real(*args, **named)
        number = next(numbers)
        if number in wanted or (plan.get("lasting") and wanted and number > min(wanted)):
            raise OSError(plan["error"], os.strerror(plan["error"]))
        return real(*args, **named)

    for name in plan["calls"]:
        _wrap(name, around)
    if "write" not in plan["calls"]:
        _wrap("write", lambda real, args, named: real(*args, **named))  # it shows when the daemon is ready


if __name__ == "__main__":
    main()
