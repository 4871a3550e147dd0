"""Core Lightning's client (PyPI: pyln-client): ``python pyln_client.py LIGHTNING_PY SOCKET``.

It sends JSON without a newline, several requests on one connection, and reads each answer up to an empty
line. Only its transport is loaded, for the package itself wants cryptography.
"""

import json
import socket
import sys
from importlib.util import module_from_spec, spec_from_file_location

spec = spec_from_file_location("lightning", sys.argv[1])
lightning = module_from_spec(spec)
spec.loader.exec_module(lightning)
rpc = lightning.UnixDomainSocketRpc(sys.argv[2])
created = rpc.call("create_session", {"agent": "ai-engineer", "session_id": "pyln-1"})
appended = rpc.call("append_message", ["ai-engineer", "pyln-1", "user", "bleibt\n\nganz ⚡"])
try:
    rpc.call("get_last_session", {"agent": "ai-muse"})
except lightning.RpcError as error:
    failed = error.error
several = []
with socket.socket(socket.AF_UNIX) as kept:
    kept.connect(sys.argv[2])
    left = b""
    for number in range(3):
        rpc._writeobj(kept, {"jsonrpc": "2.0", "id": number, "method": "find_session", "params": ["pyln-1"]})
        answer, left = rpc._readobj(kept, left)
        several.append(answer["id"])
print(json.dumps({"created": created, "appended": appended, "failed": failed, "several": several}))
