"""What a method is called, from the class of its params."""

from __future__ import annotations


def method_of(params: type) -> str:
    """`GetLastSession` asks ``get_last_session``; the tests hold every row of `methods` to it.

    So a client that has a request need not import the table, and with it every dataclass.
    """
    words = "".join(f"_{one.lower()}" if one.isupper() else one for one in params.__name__).removeprefix("_")
    # JSON-RPC 2.0 keeps ``rpc.`` for its extensions, and OpenRPC's is the one we have.
    return f"rpc.{words}" if words == "discover" else words
