"""Imports jsonrpcserver without its default validator.

`jsonrpcserver/__init__` imports jsonschema for that one: 90 of 350 ms of a start and 5 MiB, and never used
here, where `dispatch` validates requests itself. So that file is not run: its package is registered without
it, and only the modules below and what they need are imported (docs/decisions/0029). The same is done with
oslash, of which the library uses one module of ten.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec, module_from_spec

if "jsonrpcserver" not in sys.modules and (spec := find_spec("jsonrpcserver")) is not None:
    sys.modules["jsonrpcserver"] = module_from_spec(spec)
if "oslash" not in sys.modules and (spec := find_spec("oslash")) is not None:
    sys.modules["oslash"] = module_from_spec(spec)

from jsonrpcserver.dispatcher import dispatch_request
from jsonrpcserver.request import Request
from jsonrpcserver.result import Error, Result, Success
from jsonrpcserver.sentinels import NOID
from oslash.either import Left

__all__ = ["NOID", "Error", "Left", "Request", "Result", "Success", "dispatch_request"]
