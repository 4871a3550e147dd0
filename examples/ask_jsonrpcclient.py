"""Ask an agent, and print its reply as it comes, with jsonrpcclient and a socket.

python ask_jsonrpcclient.py AGENT MESSAGE
"""

import json
import socket
import subprocess
import sys

from jsonrpcclient import Error, parse, request_json

if len(sys.argv) != 3:
    sys.exit(__doc__)
agent, message = sys.argv[1:]
path = subprocess.run(["port42", "socket-path"], check=True, capture_output=True, text=True).stdout.strip()
with socket.socket(socket.AF_UNIX) as connection:
    connection.connect(path)
    params = {"agent": agent, "message": message, "stream": True}
    connection.sendall(request_json("possess", params).encode() + b"\n")
    # Each line is an event of the turn, or, at the end, the answer to the request.
    for line in connection.makefile(encoding="utf-8"):
        received = json.loads(line)
        if received.get("method") != "session_event":
            break
        if received["params"]["kind"] == "text":
            print(received["params"]["text"], end="", flush=True)
    else:
        sys.exit("The daemon went away.")
answer = parse(received)
if isinstance(answer, Error):
    sys.exit(answer.message)
if answer.result["status"] == "recorded":
    sys.exit("No back end answers: the message was recorded.")
print()
