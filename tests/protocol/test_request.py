"""A method's name and its result can be told from the class of its params, for every method there is."""

import pytest

from port42_protocol.messages.daemon import Discover
from port42_protocol.messages.sessions import GetLastSession
from port42_protocol.messages.turns import Possess
from port42_protocol.methods import METHODS, Method
from port42_protocol.request import method_of, result_of


def named(row: Method) -> str:
    return row.name


@pytest.mark.parametrize("row", METHODS.values(), ids=named)
def test_every_row_keeps_the_convention(row: Method) -> None:
    assert method_of(row.params) == row.name
    assert result_of(row.params) is row.result
    assert row.params.__name__ == row.handler.title().replace("_", "")


def test_words_and_the_extension_of_json_rpc() -> None:
    assert method_of(GetLastSession) == "get_last_session"
    assert method_of(Possess) == "possess"
    assert method_of(Discover) == "rpc.discover"
