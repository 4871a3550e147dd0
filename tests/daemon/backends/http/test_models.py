"""The models that a model server lists, with both back ends."""

import asyncio
import time

import pytest
from peers.http_back_ends import KEY, Kind
from peers.model_server import (
    Exchange,
    ModelServer,
    breaks_off,
    falls_silent,
    gives,
    hangs_up,
    refuses,
    says,
    says_nothing,
)
from peers.turns import failure_of, nobody, played, text_of, turn

from port42_daemon.backends.base import ModelOffer
from port42_daemon.backends.http import model_list

TWO = gives({"object": "list", "data": [{"id": "small"}, {"id": "large", "owned_by": "us"}]})


def offered(backend) -> ModelOffer:
    async def ask():
        try:
            return await backend.models()
        finally:
            await backend.aclose()

    return asyncio.run(ask())


@pytest.mark.parametrize(
    "answer",
    [
        {"object": "list", "data": [{"id": "small"}, {"id": "large", "x": 3}, {"id": "small"}]},
        {"data": [{"id": "small", "display_name": "Small"}, {"id": "large"}], "has_more": False},
        {"models": [{"name": "small", "model": "small"}, {"name": "large"}]},
        {"models": ["small", "large"], "data": None},
        [{"id": "small"}, {"id": "large"}],
        {
            "data": [
                None,
                3,
                {},
                {"id": 3},
                {"id": ""},
                {"id": "x" * 201},
                {"id": "\x1b[2J"},
                "small",
                "large",
            ]
        },
    ],
)
def test_the_forms_of_many_servers_are_read(kind: Kind, answer: object) -> None:
    with ModelServer(lists=gives(answer)) as server:
        assert offered(kind.backend(server)) == ModelOffer(("small", "large"))


def test_the_key_is_sent_and_a_refused_one_is_told_without_the_servers_words(kind: Kind) -> None:
    with ModelServer(lists=TWO) as server:
        offered(kind.backend(server, api_key_env="TEST_KEY"))
        (request,) = server.requests
    assert KEY in request.headers.as_string()
    with ModelServer(lists=refuses(401, {"error": {"message": f"bad key {KEY}"}})) as server:
        offer = offered(kind.backend(server, api_key_env="TEST_KEY"))
    assert offer.models == ()
    assert "refuses the key (401)" in offer.detail
    assert KEY not in offer.detail


@pytest.mark.parametrize(
    ("behaviour", "detail"),
    [
        (refuses(404), "does not list its models: 404"),
        (refuses(500), "does not list its models: 500"),
        (refuses(302, location="http://127.0.0.1:1/"), "does not list its models: 302"),
        (gives(b"<html></html>"), "answers with something that is no list of models"),
        (gives(b"\xff\xfe"), "answers with something that is no list of models"),
        (gives("models"), "answers with something that is no list of models"),
        (gives({"data": 3}), "answers with something that is no list of models"),
        (gives({}), "answers with something that is no list of models"),
        (gives(b"[" * 100_000), "answers with something that is no list of models"),
        (gives({"data": []}), "lists no models"),
        (breaks_off(b'{"data": ['), "without a response"),
        (hangs_up, "without a response"),
    ],
)
def test_nonsense_is_no_list_and_says_why(kind: Kind, behaviour, detail: str) -> None:
    with ModelServer(lists=behaviour) as server:
        offer = offered(kind.backend(server))
    assert offer.models == ()
    assert detail in offer.detail


def test_a_list_without_end_is_not_read_to_it(kind: Kind) -> None:
    sent = []

    def floods(exchange: Exchange) -> None:
        exchange.begin(kind="application/json")
        for _ in range(64):
            exchange.write(b" " * 1024 * 1024)
            sent.append(1)

    with ModelServer(lists=floods) as server:
        offer = offered(kind.backend(server))
    assert "is longer than 4 MiB" in offer.detail
    assert len(sent) < 64


def test_of_many_models_the_first_are_offered(kind: Kind) -> None:
    with ModelServer(lists=gives({"data": [{"id": f"model-{number}"} for number in range(1200)]})) as server:
        offer = offered(kind.backend(server))
    assert len(offer.models) == model_list.MOST_MODELS
    assert "lists 1,200 models; these are the first 1,000" in offer.detail


@pytest.mark.parametrize("silent", [says_nothing, falls_silent(b"[")])
def test_a_silent_server_holds_up_neither_the_list_nor_a_turn(kind: Kind, silent, monkeypatch) -> None:
    monkeypatch.setattr(model_list, "ANSWER_WITHIN", 0.5)

    async def ask(server: ModelServer) -> ModelOffer:
        backend = kind.backend(server)
        asking = asyncio.create_task(backend.models())
        await asyncio.sleep(0)
        events = [event async for event in backend.run(turn("hi"), nobody)]
        assert text_of(events) == "hello"
        offer = await asking
        await backend.aclose()
        return offer

    with ModelServer(says(kind.peer.text("hello")), lists=silent) as server:
        offer = asyncio.run(ask(server))
    assert "did not list its models within" in offer.detail


def test_a_list_is_read_once_for_all_and_kept_for_a_while(kind: Kind, monkeypatch) -> None:
    async def ask(server: ModelServer) -> None:
        backend = kind.backend(server)
        impatient = asyncio.create_task(backend.models())
        await asyncio.sleep(0)
        impatient.cancel()  # whoever waits no more leaves the list to the others
        offers = await asyncio.gather(*(backend.models() for _ in range(5)))
        assert {offer.models for offer in offers} == {("small", "large")}
        assert len(server.requests) == 1
        later = time.monotonic() + 61
        monkeypatch.setattr(model_list.time, "monotonic", lambda: later)
        server.list_with(refuses(500))
        offer = await backend.models()
        assert offer.models == ("small", "large")  # those from before
        assert "does not list its models: 500" in offer.detail
        assert len(server.requests) == 2
        await backend.aclose()

    with ModelServer(lists=TWO) as server:
        asyncio.run(ask(server))


def test_a_model_that_is_not_there_is_answered_with_similar_ones(kind: Kind) -> None:
    lists = gives({"data": [{"id": "qwen3:8b"}, {"id": "llama3.2"}]})
    with ModelServer(refuses(404, {"error": {"message": "model not found"}}), lists=lists) as server:
        asked = kind.backend(server, model="qwen3:9b")
        assert failure_of(played(asked))[1].endswith("answers 404: model not found; did you mean qwen3:8b?")
    with ModelServer(refuses(400, {"error": {"message": "qwen3 is not valid"}}), lists=lists) as server:
        failure = failure_of(played(kind.backend(server, model="qwen3")))
        assert failure[1].endswith("qwen3 is not valid; did you mean qwen3:8b?")


@pytest.mark.parametrize("status", [400, 404])
def test_a_refusal_for_another_reason_suggests_no_model(kind: Kind, status: int) -> None:
    lists = gives({"data": [{"id": kind.peer.MODEL}]})
    with ModelServer(refuses(status, {"error": {"message": "too long"}}), lists=lists) as server:
        assert failure_of(played(kind.backend(server)))[1].endswith(f"answers {status}: too long")
