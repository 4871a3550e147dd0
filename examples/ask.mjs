// Ask an agent, and print its reply as it comes. Needs Node only.
//     node ask.mjs AGENT MESSAGE
import { execFileSync } from "node:child_process";
import { createConnection } from "node:net";
import { createInterface } from "node:readline";

const [agent, message] = process.argv.slice(2);
if (message === undefined) {
  console.error("expected AGENT MESSAGE");
  process.exit(2);
}
const path = execFileSync("port42", ["socket-path"], { encoding: "utf8" }).trim();
const socket = createConnection(path);
const params = { agent, message, stream: true };
socket.write(JSON.stringify({ jsonrpc: "2.0", id: 1, method: "possess", params }) + "\n");

// Each line is an event of the turn, or, at the end, the answer to request 1.
let answer = { error: { message: "The daemon went away." } };
for await (const line of createInterface({ input: socket })) {
  const received = JSON.parse(line);
  if (received.method !== "session_event") {
    answer = received;
    break;
  }
  if (received.params.kind === "text") process.stdout.write(received.params.text);
}
socket.destroy();
if (answer.error) {
  console.error(answer.error.message);
  process.exitCode = 1;
} else if (answer.result.status === "recorded") {
  console.error("No back end answers: the message was recorded.");
  process.exitCode = 1;
} else {
  console.log();
}
