"""A stream of bytes as it comes: whole, or one byte at a time."""

from collections.abc import Callable, Iterable

import pytest

Cut = Callable[[bytes], Iterable[bytes]]


def whole(stream: bytes) -> list[bytes]:
    return [stream]


def byte_by_byte(stream: bytes) -> list[bytes]:
    return [stream[at : at + 1] for at in range(len(stream))]


@pytest.fixture(params=[whole, byte_by_byte], ids=lambda cut: cut.__name__)
def cut(request: pytest.FixtureRequest) -> Cut:
    return request.param
