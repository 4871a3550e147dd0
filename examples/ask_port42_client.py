"""Ask an agent, and print its reply as it comes, with port42_client, which starts the daemon where none runs.

python ask_port42_client.py AGENT MESSAGE
"""

import sys

from port42_client import Client, CommandError
from port42_protocol.messages.events import TextEvent

if len(sys.argv) != 3:
    sys.exit(__doc__)
agent, message = sys.argv[1:]
try:
    with Client() as client, client.possess(agent, message) as turn:
        for event in turn:
            if isinstance(event, TextEvent):
                print(event.text, end="", flush=True)
        if turn.result.status == "recorded":
            sys.exit(f"No back end answers {agent}: the message was recorded.")
except CommandError as error:  # DaemonError and its kinds (UnknownAgent, …), and NoDaemon
    sys.exit(error.message)
print()
