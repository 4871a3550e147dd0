"""The stores that must keep the contract. A new one is added to `STORES`, and nothing else is changed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from peers.stores import Restartable

STORES = ["files", "reopened"]


@pytest.fixture(params=STORES)
def restartable(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Restartable]:
    restartable = Restartable(tmp_path / "home", request.param)
    yield restartable
    restartable.end()


@pytest.fixture
def store(restartable: Restartable) -> Any:
    return restartable.store
