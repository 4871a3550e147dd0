"""`restore_original`: writes the file of a captured session to where its tool looks for it."""

from __future__ import annotations

import contextlib
import os

from port42_daemon.sessions.service import Sessions
from port42_daemon.transfer.capture.original_rows import Damaged, Original
from port42_daemon.transfer.capture.originals import Originals
from port42_daemon.transfer.capture.tools import TOOLS
from port42_protocol.errors import InvalidParams, RpcError, SessionDamaged, SessionNotFound, StorageFailed
from port42_protocol.messages.capture import Restored, RestoreOriginal


class Restoring:
    """Handles `restore_original`."""

    def __init__(self, originals: Originals, sessions: Sessions) -> None:
        self._originals = originals
        self._sessions = sessions

    async def restore_original(self, request: RestoreOriginal) -> Restored:
        """Write the source of a session to its path."""
        try:
            await self._sessions.owned(request.session_id, request.agent)
        except (SessionNotFound, SessionDamaged):
            if request.agent is not None:
                raise  # whose it is cannot be told; what is kept of it is whole
        return await self._sessions.threads.capture(self._restore, request)  # one at a time

    def _restore(self, request: RestoreOriginal) -> Restored:
        generations = self._generations(request.session_id)
        number = len(generations) if request.generation is None else request.generation
        if number > len(generations):
            expected = f"1 to {len(generations)}, the generations that are kept"
            raise InvalidParams.expecting("generation", expected, got=str(number))
        original = generations[number - 1]
        length = self._write_back(original, force=request.force)
        if TOOLS[original.tool].forks_need_originals:
            self._restore_originals(request.session_id)
        source_id = original.sessions[request.session_id]
        resume = tuple(word.replace("{id}", source_id) for word in TOOLS[original.tool].resume)
        return Restored(
            session_id=request.session_id,
            path=original.path,
            bytes=length,
            resume=resume or None,
            generation=number,
            generations=len(generations),
        )

    def _generations(self, session_id: str) -> list[Original]:
        """The originals that have the session, one at least, the oldest first."""
        try:
            generations = self._originals.of_session(session_id)
        except OSError as error:
            raise StorageFailed(f"cannot read the originals: {error.strerror}") from error
        if not generations:
            self._sessions.store.summary(session_id)  # raises what is wrong with it, if that is why
            raise InvalidParams.expecting("session_id", "a captured session whose original is kept")
        return generations

    def _write_back(self, original: Original, *, force: bool) -> int:
        """The length of the file that was written."""
        if original.conversation:
            expected = "a session that has a file of its own there"
            raise InvalidParams.expecting(
                "session_id", expected, why=f"{original.tool} has its sessions in one database"
            )
        try:
            return self._originals.restore(original, force=force)
        except FileExistsError:
            expected = "true, to replace the file that is there"
            raise InvalidParams.expecting("force", expected) from None
        except IsADirectoryError as error:
            raise StorageFailed(f"cannot restore the original: {error.strerror}") from None
        except Damaged as damage:
            raise StorageFailed(f"the original is damaged: {damage}") from None
        except OSError as error:
            reason = os.strerror(error.errno or 0).lower()
            raise StorageFailed(f"cannot restore the original: {reason}") from error

    def _restore_originals(self, session_id: str) -> None:
        """Write the sources of the sessions that this one is a fork of, where they are gone."""
        seen = {session_id}
        with contextlib.suppress(RpcError, OSError, Damaged):
            while (point := self._sessions.store.ends(session_id)[0].forked_from) is not None:
                session_id = point.session_id
                if session_id in seen or not (generations := self._originals.of_session(session_id)):
                    return
                seen.add(session_id)
                with contextlib.suppress(FileExistsError):
                    self._originals.restore(generations[-1], force=False)
