// A client of the Node ecosystem: jayson (npm), its own transport and framing, over a Unix socket.
// `node node_client.mjs SOCKET` prints what it was answered as one JSON object.
import jayson from "jayson";
import { promisify } from "node:util";

const client = jayson.Client.tcp({ path: process.argv[2] });
const request = promisify(client.request.bind(client));

const created = await request("create_session", { agent: "ai-engineer", session_id: "node-1" });
const appended = await request("append_message", ["ai-engineer", "node-1", "user", "grüße aus Node 🟢"]);
// A null id is jayson's way to write a notification.
await request("append_message", ["ai-engineer", "node-1", "assistant", "unanswered"], null);
await request("append_message", ["ai-engineer", "node-1", "user", "after it"]);
const failed = await request("get_last_session", { agent: "ai-muse" });
const batch = await request([
  client.request("get_session", { session_id: "node-1" }, undefined, false),
  client.request("end_session", ["node-1"], null, false),
  client.request("no_such_method", [], undefined, false),
]);
console.log(JSON.stringify({ created, appended, failed, batch }));
