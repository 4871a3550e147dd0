"""Images of prompts as files: a session has text, and agents with tools open an image by its path."""

from __future__ import annotations

import base64
import binascii
import contextlib
import os
import stat
import tempfile
import time
from hashlib import sha256
from pathlib import Path

from port42_client.errors import Refused
from port42_protocol.errors import InvalidParams

KEPT_DAYS = 30
_SUFFIXES = {"image/png": "png", "image/jpeg": "jpg", "image/gif": "gif", "image/webp": "webp"}


def folder() -> Path:
    """``images`` in the user's cache folder, as platformdirs has it."""
    import platformdirs  # few prompts have an image

    return Path(platformdirs.user_cache_dir("port42", appauthor=False), "images")


def kept(field: str, data: str, mime_type: str) -> str:
    """The path of the file with that image, which is written if it is not there. Blocks.

    Only the user can read it (0600); what was sent more than `KEPT_DAYS` ago is deleted. Raises
    `InvalidParams`, which names what is wrong in the block `field`, and `Refused` where it cannot be kept.
    """
    if mime_type not in _SUFFIXES:
        raise InvalidParams.expecting(
            f"{field}.mimeType", "one of " + ", ".join(_SUFFIXES), got=mime_type[:80]
        )
    try:
        image = base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError):
        image = b""
    if not image:
        raise InvalidParams.expecting(f"{field}.data", "an image in base64")
    path = folder() / f"{sha256(image).hexdigest()[:32]}.{_SUFFIXES[mime_type]}"
    try:
        _write(path, image)
        _delete_old(path.parent)
    except OSError as error:
        raise Refused(f"the image cannot be kept: {os.strerror(error.errno or 0).lower()}") from None
    return str(path)


def _write(path: Path, image: bytes) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # The name is that of the content, so whatever is there, a link also, is replaced by the same.
    descriptor, name = tempfile.mkstemp(dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(image)
        Path(name).replace(path)
    except OSError:
        Path(name).unlink()
        raise


def _delete_old(images: Path) -> None:
    before = time.time() - KEPT_DAYS * 86_400
    with os.scandir(images) as entries:
        for entry in entries:
            with contextlib.suppress(FileNotFoundError):  # another editor's process was first
                status = entry.stat(follow_symlinks=False)
                if stat.S_ISREG(status.st_mode) and status.st_mtime < before:
                    Path(entry.path).unlink()
