"""The modes of ACP agents: those in which they act unasked, and one for a turn. As real processes."""

import pytest
from peers.acp_turns import NAME, native_id_of, notices, play, played
from peers.backends_acp import Journal, config
from peers.turns import events_of, failure_of, text_of, turn

from port42_daemon.backends.acp.pool import Acp
from port42_daemon.backends.acp.session_config import Choices
from port42_protocol.messages.agents import Mode


@pytest.mark.parametrize("policy", ["deny", "ask", "read-only"])
def test_an_agent_that_would_act_unasked_is_told_to_ask(journal: Journal, policy: str) -> None:
    (events,) = played(config("echo", journal, "auto", permissions=policy))
    assert journal.methods[2:] == ["session/set_mode", "session/prompt"]
    assert journal.params("session/set_mode") == [{"sessionId": native_id_of(events), "modeId": "default"}]
    assert notices(events) == []


def test_the_mode_as_an_option(journal: Journal) -> None:
    (events,) = played(config("echo", journal, "auto-option"))
    (request,) = journal.params("session/set_config_option")
    assert request == {"sessionId": native_id_of(events), "configId": "mode-id", "value": "read-only"}


@pytest.mark.parametrize("ability", ["yolo", "auto-stays"])
def test_an_agent_that_cannot_be_made_to_ask_is_asked_nothing(journal: Journal, ability: str) -> None:
    (events,) = played(config("echo", journal, ability))
    kind, message = failure_of(events)
    assert kind == "refused"
    assert message.startswith(f"{NAME} would act without asking: it stays in its mode auto")
    assert journal.prompts == []


def test_the_mode_is_the_agents_own_where_all_is_allowed(journal: Journal) -> None:
    (events,) = played(config("echo", journal, "auto", permissions="allow"))
    assert journal.methods == ["initialize", "session/new", "session/prompt"]
    assert notices(events) == []


def test_a_mode_taken_in_one_turn_does_not_last_to_the_next(journal: Journal) -> None:
    async def three(backend: Acp) -> None:
        native_id = native_id_of(await events_of(backend, turn("act")))
        await events_of(backend, turn("two", native_id=native_id))
        await events_of(backend, turn("three", native_id=native_id))

    play(Acp(config("echo", journal, "auto")), three)
    set_mode, prompt = "session/set_mode", "session/prompt"
    assert journal.methods[2:] == [set_mode, prompt, set_mode, prompt, prompt]


COPILOT = "https://agentclientprotocol.com/protocol/session-modes"


def test_modes_in_which_agents_act_unasked_are_known_however_they_are_spelled() -> None:
    choices = Choices({})
    unasked = [
        "acceptEdits",
        "bypassPermissions",
        "autoEdit",
        "auto_edit",
        "auto-edit",
        f"{COPILOT}#autopilot",
    ]
    assert [mode for mode in unasked if not choices.acts_unasked(mode)] == []
    asking = [
        "default",
        "plan",
        "build",
        "read-only",
        "agent",
        f"{COPILOT}#agent",
        f"{COPILOT}#plan",
        "",
        None,
    ]
    assert [mode for mode in asking if choices.acts_unasked(mode)] == []


# --- a mode for one turn --------------------------------------------------------------------------------

DEFAULT, PLAN, YOLO = Mode("default", "Default"), Mode("plan", "Plan"), Mode("yolo", "All by itself")


@pytest.mark.parametrize("way", ["modes", "modes-option"])
def test_a_mode_is_for_one_turn(journal: Journal, way: str) -> None:
    async def modes(backend: Acp) -> list[str]:
        said: list[str] = []
        native_id = None
        for mode in (None, "plan", "plan", None, None):
            events = await events_of(backend, turn("mode?", mode=mode, native_id=native_id))
            native_id = native_id_of(events)
            assert notices(events) == []
            said.append(text_of(events).strip())
        return said

    assert play(Acp(config("echo", journal, way)), modes) == ["default", "plan", "plan", "default", "default"]
    change = "session/set_mode" if way == "modes" else "session/set_config_option"
    prompt = "session/prompt"
    assert journal.methods[2:] == [prompt, change, prompt, prompt, change, prompt, prompt]
    assert len(journal.pids) == 1


@pytest.mark.parametrize(
    ("policy", "known"),
    [("ask", (DEFAULT, PLAN)), ("deny", (DEFAULT, PLAN)), ("allow", (DEFAULT, PLAN, YOLO))],
)
def test_the_modes_that_are_permitted_are_known_from_its_first_session_on(
    policy: str, known: tuple[Mode, ...]
) -> None:
    async def ask(backend: Acp) -> None:
        assert (await backend.probe()).modes == ()
        await events_of(backend, turn(mode="plan"))
        health = await backend.probe()
        assert (health.modes, health.mode) == (known, "default")

    play(Acp(config("echo", "/dev/null", "modes", permissions=policy)), ask)


@pytest.mark.parametrize("way", ["modes", "modes-option"])
def test_a_mode_in_which_it_acts_unasked_is_refused_and_the_next_turn_answered(
    journal: Journal, way: str
) -> None:
    async def two(backend: Acp) -> None:
        refused = await events_of(backend, turn(mode="yolo"))
        assert failure_of(refused) == (
            "refused",
            "mode: expected one of default, plan, got yolo: it would act without asking"
            ' (permissions = "allow" in config.toml permits that)',
        )
        assert journal.prompts == []
        assert text_of(await events_of(backend, turn("mode?", native_id=native_id_of(refused)))) == "default "

    play(Acp(config("echo", journal, way)), two)
    assert len(journal.pids) == 1


def test_where_all_is_allowed_it_may_act_unasked_for_one_turn() -> None:
    async def two(backend: Acp) -> tuple[str, str]:
        first = await events_of(backend, turn("mode?", mode="yolo"))
        return text_of(first), text_of(await events_of(backend, turn("mode?", native_id=native_id_of(first))))

    backend = Acp(config("echo", "/dev/null", "modes", permissions="allow"))
    assert play(backend, two) == ("yolo ", "default ")


def test_an_agent_that_began_in_a_mode_where_it_acts_unasked_does_not_go_back_to_it(journal: Journal) -> None:
    async def two(backend: Acp) -> None:
        first = await events_of(backend, turn(mode="plan"))
        await events_of(backend, turn(native_id=native_id_of(first)))

    play(Acp(config("echo", journal, "auto")), two)
    assert [request["modeId"] for request in journal.params("session/set_mode")] == ["plan", "default"]


def test_a_mode_that_it_does_not_have_is_refused(journal: Journal) -> None:
    (events,) = played(config("echo", journal, "modes"), turn(mode="plna"))
    assert failure_of(events) == ("refused", "mode: expected one of default, plan, got plna")
    assert journal.prompts == []


def test_an_agent_that_stays_in_a_mode_is_asked_nothing_and_ended(journal: Journal) -> None:
    async def three(backend: Acp) -> list[tuple[str, str]]:
        native_id = native_id_of(await events_of(backend, turn("stay", mode="plan")))
        failed = await events_of(backend, turn("two", native_id=native_id))
        await events_of(backend, turn("three", native_id=native_id))
        return [failure_of(failed)]

    said = f"{NAME} does not take the mode default: it stays in its mode plan"
    assert play(Acp(config("echo", journal, "modes", "load")), three) == [("refused", said)]
    assert journal.prompts == ["stay", "three"]
    assert len(journal.pids) == 2


def test_an_agent_without_modes_answers_and_that_is_told() -> None:
    (events,) = played(config("echo", "/dev/null"), turn(mode="plan"))
    assert notices(events) == [f"{NAME} does not take the mode plan: it has none"]
    assert text_of(events) == "hello "
