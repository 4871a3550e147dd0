"""Every request, result and record as a frozen dataclass: the shapes that travel and are kept.

A request's fields are its JSON-RPC params, by name or, in field order, by position. `Annotated`
types carry what a value must look like; `codec` turns a breach into an error that names the field.
Times are RFC 3339 in UTC with milliseconds (``2026-11-23T03:37:11.042Z``).
"""
