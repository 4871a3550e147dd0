"""What is used without being decoded has the names that the protocol's types have."""

from __future__ import annotations

import pytest

from port42_cli.conversation import send, show
from port42_client import wire
from port42_protocol.messages import events, records


@pytest.mark.parametrize(
    ("plain", "typed"),
    [
        (wire.Session, records.Summary),
        (wire.Option, events.PermissionOption),
        (wire.Event, events.SessionEvent),
        (send.Reference, records.Reference),
        (show.TurnResult, events.Possessed),
    ],
)
def test_plain_values_have_the_fields_of_the_protocol(plain, typed):
    kinds = getattr(typed, "__args__", (typed,))
    known = {name for kind in kinds for name in (*kind.__struct_fields__, kind.__struct_config__.tag_field)}
    assert set(plain.__annotations__) <= known
