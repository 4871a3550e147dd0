"""Each test runs with both back ends."""

import pytest
from peers import backends_anthropic, backends_openai
from peers.http_back_ends import Kind

from port42_daemon.backends.http.anthropic import Anthropic
from port42_daemon.backends.http.openai import OpenAI


@pytest.fixture(
    params=[Kind(backends_openai, OpenAI), Kind(backends_anthropic, Anthropic)], ids=["openai", "anthropic"]
)
def kind(request: pytest.FixtureRequest) -> Kind:
    return request.param
