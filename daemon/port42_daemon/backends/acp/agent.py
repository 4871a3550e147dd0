"""One ACP agent process with one session in it: opened, asked, cancelled, ended.

`Agent.start` shakes hands, `open` resumes the session or begins one, `answer` gives the events of a turn,
`end` stops the process. An agent may be kept between turns while `fit`.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Mapping
from pathlib import Path
from typing import Any

from port42_daemon.backends.acp import updates
from port42_daemon.backends.acp.connection import METHOD_NOT_FOUND, Gone, Refused, Wire, fields, objects
from port42_daemon.backends.acp.session_config import Choices, for_setup, takes
from port42_daemon.backends.acp.turn_events import CANCELLED, Broken, NotAsked, TurnEvents
from port42_daemon.backends.base import Ask, Done, Event, Failure, ModeTaken, Notice, Turn, Usage
from port42_daemon.backends.decoding import whole
from port42_daemon.backends.errors import ReplyCheck, kind_of_words, one_line, telling_line
from port42_daemon.backends.process import CannotStart, Child, Silent
from port42_daemon.backends.programs import Programs
from port42_daemon.config import AcpBackend
from port42_protocol import __version__
from port42_protocol.messages.agents import Mode

PROTOCOL_VERSION = 1
_CANCEL_GRACE = 3.0
_END_GRACE = 1.0
"""Seconds between the end of stdin, which codex-acp ignores, and the first signal."""
_MOST_NAMED = 20
"""Modes that an error names."""
_PERMITS_THAT = 'permissions = "allow" in config.toml permits that'
_CUT_SHORT = {
    "max_tokens": "the agent stopped at its limit of tokens",
    "max_turn_requests": "the agent stopped at its limit of requests",
    "cancelled": "the agent broke off by itself",
}


_TOOLS = ("claude", "codex", "gemini", "opencode", "copilot")


def tool_of(config: AcpBackend) -> str | None:
    """The program that an agent's command names, or that stands behind it."""
    words = {word for argument in config.command for word in Path(argument).name.split("-")}
    return next((tool for tool in _TOOLS if tool in words), None)


class CannotResume(Exception):
    """The agent broke while it resumed its session: a new process must begin a new one."""


class Agent:
    """A running agent. Make it with `start`; whoever made it calls `end`, however it went.

    `native_id` is its name for the session.
    """

    def __init__(self, config: AcpBackend, child: Child, cwd: str) -> None:
        self._config = config
        self._child = child
        self._cwd = cwd
        self._wire = Wire(child, self._on_notification, self._on_request, config.timeout)
        self._turn_events: TurnEvents | None = None
        self._name = Path(config.command[0]).name
        self._capabilities: dict[str, Any] = {}
        self._logins = ""
        self._preface: list[str] = []
        self._usable = True
        self._choices = Choices({})
        self._own_mode: str | None = None  # which the session had before a turn asked for another
        self._session_usage: Usage | None = Usage(0, 0) if tool_of(config) == "copilot" else None
        self.native_id = ""

    @classmethod
    async def start(
        cls,
        config: AcpBackend,
        cwd: str,
        environ: Mapping[str, str],
        programs: Programs,
        depth: int = 0,
    ) -> Agent:
        """Start the program and shake hands with it. Raises `Broken`."""
        try:
            child = await programs.start(config.command, cwd, config.env_pass, environ, depth)
        except CannotStart as why:
            raise Broken(Failure(why.kind, str(why))) from None
        agent = cls(config, child, cwd)
        try:
            await agent._shake_hands()
        except BaseException:
            await agent.end()
            raise
        return agent

    @property
    def fit(self) -> bool:
        """Whether the next turn can be put to it: it runs, and nothing of the last turn is left in it."""
        return self._usable and self._wire.open

    @property
    def model(self) -> str | None:
        return self._choices.model

    @property
    def models(self) -> tuple[str, ...]:
        return self._choices.models

    @property
    def modes(self) -> tuple[Mode, ...]:
        """Those that a turn may ask for."""
        return tuple(mode for mode in self._choices.modes if self._permits(mode.id))

    @property
    def mode(self) -> str | None:
        """The mode of a turn that asks for none."""
        own = self._own_mode or self._choices.mode
        return own if self._permits(own) else self._choices.asking_mode

    @property
    def ended(self) -> asyncio.Task[None]:
        return self._wire.ended

    async def open(self, turn: Turn, *, resume: bool) -> list[str]:
        """Resume the session that `turn` names, or begin one; returns a notice for the user, if any.

        Raises `Broken`, `CannotResume`.
        """
        taken = [server for server in turn.mcp_servers if takes(self._capabilities, server)]
        self._child.hide(part.value for server in taken for part in (*server.env, *server.headers))
        servers = [for_setup(server) for server in taken]
        setup = {"cwd": self._cwd, "mcpServers": servers, **self._persona(turn.system)}
        opened = await self._resume(str(turn.native_id), setup) if resume else None
        notices = []
        if left := [server.name for server in turn.mcp_servers if server not in taken]:
            what = f"{self._name} does not take the MCP servers {', '.join(left)}: it cannot reach them"
            notices.append(one_line(what))
        if opened is None:
            opened = await self._required("session/new", setup)
            native_id = opened.get("sessionId")
            if not isinstance(native_id, str) or not native_id or whole(native_id) != native_id:
                raise Broken(Failure("refused", f"{self._name} gave its session no name"))
            self.native_id = native_id
            if turn.native_id is not None:
                notices.append(f"{self._name} could not go back to its session, and began a new one")
            if turn.history:
                self._preface.append(updates.transcript(turn))
                notices.append(f"{self._name} was given the conversation so far as text")
        self._choices = Choices(opened)
        if turn.model not in (None, self._choices.model):
            notices += await self._choose_model(str(turn.model))
        return notices

    async def answer(self, turn: Turn, ask: Ask) -> AsyncGenerator[Event]:
        """The events of one turn, `Done` last. Closed earlier, it cancels the turn. Raises `NotAsked`."""
        turn_events = self._turn_events = TurnEvents(self._config.permissions, ask)
        self._usable = False
        reply = ReplyCheck()
        prompt = asyncio.create_task(self._prompt(turn, turn_events))
        try:
            while True:
                event = await turn_events.events.get()
                if isinstance(event, NotAsked):
                    raise event
                if isinstance(event, Done):
                    await asyncio.sleep(0)  # what it wrote to stderr before is read by then
                    yield reply.end(event, f"{self._name} gave no answer", self._child.stderr())
                    return
                for passed_on in reply.take(event):
                    yield passed_on
                turn_events.events.task_done()
        finally:
            try:
                if not prompt.done():
                    await self._cancel(prompt, turn_events)
            finally:
                prompt.cancel()
                self._turn_events = None
                self._child.clear_stderr()  # it is about this turn

    async def end(self) -> None:
        """End the process: the end of its stdin first, which lets it save its session, then signals."""
        self._usable = False
        try:
            self._child.close_stdin()
            await self._child.settle(_END_GRACE)
        finally:
            await self._child.stop()
            await self._wire.close()

    # --- opening ------------------------------------------------------------------------------------

    async def _shake_hands(self) -> None:
        ours = {
            "protocolVersion": PROTOCOL_VERSION,
            "clientCapabilities": {"fs": {"readTextFile": False, "writeTextFile": False}, "terminal": False},
            "clientInfo": {"name": "port42", "version": __version__},
        }
        theirs = await self._required("initialize", ours)
        info = fields(theirs.get("agentInfo"))
        self._name = one_line(str(info.get("title") or info.get("name") or self._name))
        if theirs.get("protocolVersion") != PROTOCOL_VERSION:
            what = f"{self._name} does not speak version {PROTOCOL_VERSION} of the Agent Client Protocol"
            raise Broken(Failure("refused", what))
        self._capabilities = fields(theirs.get("agentCapabilities"))
        logins = [str(method.get("name", "")) for method in objects(theirs.get("authMethods"))]
        self._logins = one_line(", ".join(filter(None, logins)))

    def _has(self, capability: str) -> bool:
        return isinstance(fields(self._capabilities.get("sessionCapabilities")).get(capability), dict)

    def _persona(self, system: str | None) -> dict[str, Any]:
        """Where this agent takes a persona from: a field of the session, or else its first prompt.

        The prompt says it again after every opening: nothing tells whether the agent still has it.
        """
        if system is None:
            return {}
        if self._has("systemPrompt"):
            return {"systemPrompt": {"mode": "append", "content": [{"type": "text", "text": system}]}}
        if "claudeCode" in fields(self._capabilities.get("_meta")):
            return {"_meta": {"systemPrompt": {"append": system}}}
        self._preface.append(system)
        return {}

    async def _resume(self, native_id: str, setup: dict[str, Any]) -> dict[str, Any] | None:
        """The session as the agent has it, or None when it does not. What it replays is ignored."""
        ways = ["session/resume"] if self._has("resume") else []
        if self._capabilities.get("loadSession") is True:
            ways.append("session/load")
        for way in ways:
            try:
                opened = fields(await self._wire.request(way, {"sessionId": native_id, **setup}))
            except Refused as refused:
                # Agents have no common word for "no such session"; only a login is another matter.
                failed = await self._failure(refused)
                if failed.kind == "needs_auth":
                    raise Broken(failed) from None
            except (Gone, Silent):
                raise CannotResume from None
            else:
                self.native_id = native_id
                return opened
        return None

    async def _choose_model(self, wish: str) -> list[str]:
        method, params = self._choices.model_request(wish)
        try:
            await self._session_request(method, params)
        except Refused:
            its_own = self._choices.model or "its own"
            return [f"{self._name} does not take the model {wish}: it answers with {its_own}"]
        except (Gone, Silent) as error:
            raise Broken(await self._failure(error)) from None
        self._choices.model = wish
        return []

    # --- a turn -------------------------------------------------------------------------------------

    async def _prompt(self, turn: Turn, turn_events: TurnEvents) -> None:
        """Ask, and put what the end is into the turn's events, behind all that came before it."""
        text = "\n\n".join([*self._preface, turn.message])
        last: list[Event | NotAsked] = []
        sent = False
        try:
            for outcome in await self._choose_mode(turn.mode):
                await turn_events.events.put(outcome)
            if turn_events.over:  # cancelled before anything was asked
                self._usable = True
                return
            sent = self._wire.open
            result = await self._session_request(
                "session/prompt", {"prompt": [{"type": "text", "text": text}]}
            )
        except (Refused, Gone, Silent) as error:
            turn_events.over = True
            failed = await self._failure(error)
            last.append(NotAsked(failed) if isinstance(error, Gone) and not sent else Done(failed))
        except Broken as broken:
            last.append(Done(broken.failure))
        else:
            turn_events.over = True
            self._preface.clear()
            self._usable = True
            last += self._ending(result)
        for event in last:
            await turn_events.events.put(event)

    def _permits(self, mode: str | None) -> bool:
        return self._config.permissions == "allow" or not self._choices.acts_unasked(mode)

    async def _choose_mode(self, wish: str | None) -> list[Event]:
        """Change to the mode `wish`, or back to the session's own; returns what came of the wish.

        Only ``allow`` leaves it to the agent what it does without asking. Claude's begins in a mode where it
        decides that by itself, and an approval for ever may lead to another. Raises `Broken` where the agent
        cannot be in the mode that is wished, or in one that is permitted: in another it may do more.
        """
        choices = self._choices
        outcome: list[Event] = [] if wish is None else [ModeTaken(wish)]
        if wish is not None and not choices.modes:
            outcome = [Notice(f"{self._name} does not take the mode {wish}: it has none")]
            wish = None
        if wish is not None and wish not in (offered := [mode.id for mode in self.modes]):
            self._usable = True  # nothing was asked of it
            unpermitted = any(mode.id == wish for mode in choices.modes)
            why = f": it would act without asking ({_PERMITS_THAT})" if unpermitted else ""
            expected = f"one of {', '.join(offered[:_MOST_NAMED])}" if offered else "none"
            raise Broken(Failure("refused", one_line(f"mode: expected {expected}, got {wish}{why}")))
        own = self._own_mode or choices.mode
        wanted = wish or self.mode
        if wanted is not None and wanted != choices.mode:
            with contextlib.suppress(Refused):
                await self._session_request(*choices.mode_request(wanted))
                choices.mode = wanted
        self._own_mode = own if wish else None
        stays = f"it stays in its mode {choices.mode}"
        if not self._permits(choices.mode):
            what = one_line(f"{self._name} would act without asking: {stays}")
            raise Broken(Failure("refused", f"{what} ({_PERMITS_THAT})"))
        if wanted not in {None, choices.mode}:
            what = f"{self._name} does not take the mode {wanted}: {stays}"
            raise Broken(Failure("refused", one_line(what)))
        return outcome

    def _ending(self, result: dict[str, Any]) -> list[Event]:
        reason = result.get("stopReason")
        reason = reason if isinstance(reason, str) else None
        counted = self._own_usage(updates.usage(fields(result.get("usage"))))
        last: list[Event] = [counted] if counted else []
        if reason in _CUT_SHORT:
            last.append(Notice(_CUT_SHORT[reason]))
        refusal = Failure("refused", f"{self._name} refused to answer this") if reason == "refusal" else None
        return [*last, Done(refusal, reason)]

    def _own_usage(self, counted: Usage | None) -> Usage | None:
        """The turn's tokens: Copilot counts the session's, from the start of its process on."""
        before = self._session_usage
        if before is None or counted is None:
            return counted
        self._session_usage = counted
        sent, received = (
            counted.input_tokens - before.input_tokens,
            counted.output_tokens - before.output_tokens,
        )
        return Usage(sent, received) if sent >= 0 and received >= 0 else None

    async def _cancel(self, prompt: asyncio.Task[None], turn_events: TurnEvents) -> None:
        turn_events.stop()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_CANCEL_GRACE):
                await self._wire.notify("session/cancel", {"sessionId": self.native_id})
                turn_events.stop_asking()
                await asyncio.wait([prompt])

    async def _on_notification(self, method: str, params: dict[str, Any]) -> None:
        if method == "session/update" and params.get("sessionId") == self.native_id:
            update = fields(params.get("update"))
            self._choices.changed(update)
            # Updates outside a turn are ignored, such as those replayed when a session is loaded.
            if self._turn_events is not None:
                await self._turn_events.update(update)

    async def _on_request(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        if method != "session/request_permission":
            raise Refused(METHOD_NOT_FOUND, f"{method} is not offered")
        return CANCELLED if self._turn_events is None else await self._turn_events.permission(params)

    # --- requests and their failures ----------------------------------------------------------------

    async def _session_request(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        return fields(await self._wire.request(method, {"sessionId": self.native_id, **params}))

    async def _required(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        """The result of a request without which there is no turn. Raises `Broken`."""
        try:
            return fields(await self._wire.request(method, params))
        except (Refused, Gone, Silent) as error:
            raise Broken(await self._failure(error)) from None

    async def _failure(self, error: Exception) -> Failure:
        """The failure to report. An agent that closed its output is ended first, to read all of stderr."""
        match error:
            case Refused():
                text = updates.words_of_refusal(error)
                return updates.failure_of(
                    error, self._name, self._logins, one_line(self._child.without_secrets(text))
                )
            case Silent():
                return Failure("timeout", f"{self._name} said nothing for {self._config.timeout:g} s")
            case _:
                await self.end()
                status = await self._child.settle(0)
                message = f"{self._name} {error}" + (
                    f" with status {status}" if status and status > 0 else ""
                )
                words = telling_line(self._child.stderr()) or self._child.without_secrets(self._wire.stray)
                return Failure(kind_of_words(words), f"{message}: {words[:300]}" if words else message)
