"""A load beside restarts, run as the user: `load.py SOCKET SECONDS`; what it saw is a JSON object on stdout.

200 requests a second, half of them messages with keys, half questions; half of the clients dial for each
request, half keep their connection and dial again when it is closed on them. A request whose connection
is closed before a byte of it was taken (EPIPE) is sent to the next daemon; anything else that is not an
answer is counted: `refused` (no connection), `lost` (taken and never answered), `errors` (as they came).
"""

from __future__ import annotations

import json
import socket
import sys
import threading
import time
from typing import Any

RATE, CLIENTS = 200, 8


class Client(threading.Thread):
    """Asks every `CLIENTS / RATE` seconds."""

    def __init__(self, path: str, requests: int, number: int) -> None:
        super().__init__()
        self.path, self.requests, self.number, self.keeps = path, requests, number, number % 2 == 0
        self.sent, self.acknowledged = 0, []
        self.counts = {"answered": 0, "refused": 0, "lost": 0, "dialled": 0}
        self.errors: list[Any] = []
        self.peer: socket.socket | None = None

    def run(self) -> None:
        agent = f"agent-{self.number}"
        session = self.ask("create_session", agent=agent)["session_id"]
        self.session = session
        due = time.monotonic()
        while self.sent < self.requests:
            time.sleep(max(0.0, due - time.monotonic()))
            due += CLIENTS / RATE
            self.sent += 1
            if self.sent % 2:
                content = str(self.sent)
                message = {"role": "user", "content": content, "idempotency_key": content}
                if self.ask("append_message", agent=agent, session_id=session, **message):
                    self.acknowledged.append(content)
            else:
                last = self.ask("get_last_session", agent=agent)
                if last and last["session_id"] != session:
                    self.errors.append(last)

    def ask(self, method: str, **params: object) -> Any:
        line = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode() + b"\n"
        while True:
            try:
                peer = self.peer or self.dial()
            except OSError:
                self.counts["refused"] += 1
                return None
            try:
                peer.sendall(line)
            except BrokenPipeError:
                self.hang_up(peer)
                continue
            answer = self.answer(peer)
            if not self.keeps or not answer:
                self.hang_up(peer)
            if not answer:
                self.counts["lost"] += 1
                return None
            response = json.loads(answer)
            if "error" in response:
                self.errors.append(response["error"])
                return None
            self.counts["answered"] += 1
            return response["result"]

    def dial(self) -> socket.socket:
        self.counts["dialled"] += 1
        peer = socket.socket(socket.AF_UNIX)
        peer.connect(self.path)
        peer.settimeout(30)
        if self.keeps:
            self.peer = peer
        return peer

    def hang_up(self, peer: socket.socket) -> None:
        peer.close()
        self.peer = None

    @staticmethod
    def answer(peer: socket.socket) -> bytes:
        line = b""
        try:
            while not line.endswith(b"\n"):
                data = peer.recv(65536)
                if not data:
                    return b""
                line += data
        except OSError:
            return b""
        return line


def main() -> None:
    """Run the clients, and say what they saw."""
    requests = int(sys.argv[2]) * RATE // CLIENTS
    clients = [Client(sys.argv[1], requests, number) for number in range(CLIENTS)]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    seen: dict[str, Any] = {
        name: sum(client.counts[name] for client in clients) for name in clients[0].counts
    }
    seen["sent"] = sum(client.sent for client in clients)
    seen["errors"] = [error for client in clients for error in client.errors]
    seen["acknowledged"] = {client.session: client.acknowledged for client in clients}
    print(json.dumps(seen))


if __name__ == "__main__":
    main()
