"""The client for scripts: finds the daemon or starts it, runs turns, follows sessions.

    with Client() as client:
        for event in client.possess("ai-engineer", "build a parser"):
            print(event)

Its calls raise what `port42_client.client` says. One client serves one thread at a time.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import closing
from itertools import chain, islice
from typing import Unpack

from port42_client import client as calls
from port42_client import following
from port42_client._shared import (
    ClientOptions,
    PossessOptions,
    RetryOptions,
    daemon_of,
    hello_is_known,
    last_record,
    last_seq,
    possess_params,
    retry_params,
)
from port42_client.wire import JsonObject
from port42_protocol.messages.daemon import Hello, Welcome
from port42_protocol.messages.events import PermissionEvent, PermissionOption, Possessed, SessionEvent
from port42_protocol.messages.records import Summary


class Turn:
    """A turn of an agent that has begun: iterate over its events as they come, then read `result`.

    It is there once its message is recorded, or waits behind other turns. It has a connection of its own;
    `close`, which leaving ``with`` calls, ends a turn that is not over, unless it is detached.
    """

    def __init__(self, client: calls.Client, method: str, params: JsonObject) -> None:
        self._client = client
        self._method = method
        self._stream = client.stream(method, params)
        self._result: Possessed | None = None
        self.session_id: str | None = params.get("session_id")
        """None in a new session, where the daemon has not said its id."""
        self._later = self._read()
        self._events = chain(list(islice(self._later, 1)), self._later)

    def __iter__(self) -> Iterator[SessionEvent]:
        return self

    def __next__(self) -> SessionEvent:
        return next(self._events)

    def __enter__(self) -> Turn:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def result(self) -> Possessed:
        """The outcome, after the rest of the events, which are passed over. Raises what a call raises."""
        for _ in self._events:
            pass
        if self._result is None:
            raise calls.went_away(self._method)  # it was closed
        return self._result

    def answer(self, permission: PermissionEvent, option: PermissionOption | None) -> None:
        """Choose an option of a permission request; with None, reject it."""
        chosen = {} if option is None else {"option_id": option.id}
        params = {"session_id": permission.session_id, "permission_id": permission.permission_id}
        self._client.notify("answer_permission", params | chosen)

    def cancel(self) -> None:
        """End the turn, also from another thread: its `result` is ``interrupted``, with the reply so far.

        One that waits behind others raises `RequestCancelled`, and is not recorded.
        """
        self._client.cancel()

    def close(self) -> None:
        self._later.close()

    def _read(self) -> Generator[SessionEvent, None, None]:
        try:
            while True:
                try:
                    event = next(self._stream)
                except StopIteration as end:
                    self._result = calls.decode(Possessed, end.value)
                    self.session_id = self._result.session_id
                    return
                if (typed := following.typed(event)) is not None:
                    self.session_id = typed.session_id or self.session_id
                    yield typed
        finally:
            self._stream.close()
            self._client.close()


class Client(calls.Client):
    """A client of one daemon, which `ClientOptions` name: without any, that of whoever runs the script.

    After `patience` seconds without any word of the daemon, a call raises `NoDaemon`.
    """

    def __init__(self, *, patience: float | None = None, **options: Unpack[ClientOptions]) -> None:
        daemon = self._daemon = daemon_of(options)
        super().__init__(daemon.connect, daemon.notice, patience, host=daemon.host)

    def __enter__(self) -> Client:
        return self

    def require(self, *needs: str, name: str = "python", version: str | None = None) -> Welcome:
        """What the daemon is and can do. Raises `MissingCapability` where it lacks one of `needs`.

        These are methods (``possess``) and parameters (``possess.depth``); `name` and `version` are the
        script's own, for the error.
        """
        with hello_is_known(needs):
            return self.call(Hello(name, version, list(needs)))

    def possess(self, agent: str, message: str, **options: Unpack[PossessOptions]) -> Turn:
        """Send `message` to `agent`, in the session that the options name, or in a new one.

        Returns once it is recorded, or waits behind other turns.
        """
        params = possess_params(agent, message, options)
        return Turn(self._daemon.client(), "possess", params)

    def retry(self, agent: str, session_id: str, **options: Unpack[RetryOptions]) -> Turn:
        """Ask again what the session's last turn failed on, perhaps another `model`, or in a `mode`."""
        params = retry_params(agent, session_id, options)
        return Turn(self._daemon.client(), "retry_turn", params)

    def subscribe(
        self, session_id: str | None = None, *, agent: str | None = None, since_seq: int | None = None
    ) -> Generator[SessionEvent, None, None]:
        """What happens in a session, in an agent's sessions or in all, without end, as it happens.

        Of a session: the records after `since_seq`, or those from now on; none is missed, and none comes
        twice, also when the daemon is restarted, or sent an ``overflow`` because who iterates is too slow. Of
        several sessions: what happens from the first iteration on, but for what happens while there is no
        connection. It waits for a daemon that was stopped, and starts none.
        """
        target: Summary | str | None = agent
        if session_id is not None:
            session = self.call(last_record(session_id, agent))
            target, since_seq = session.session, last_seq(session) if since_seq is None else since_seq
        return self._subscribe(following.Following(self._daemon, target, since_seq))

    def _subscribe(self, follows: following.Following) -> Generator[SessionEvent, None, None]:
        with closing(follows.events()) as events:
            for event in events:
                if event is not None and (typed := following.typed(event)) is not None:
                    yield typed
