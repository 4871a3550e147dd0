"""Requests, results, events and records.

Requests are frozen dataclasses of the standard library, everything else is a frozen `msgspec.Struct`:
defining a slotted dataclass costs 1.2 ms on Python 3.11, a Struct 0.02 ms.

A request's fields are its JSON-RPC params, by name or, in field order, by position. `Annotated` types have
the constraints of a value; `codec` turns a violation into an error that names the field.
Times are RFC 3339 in UTC with milliseconds (``2026-11-23T03:37:11.042Z``).
"""
