// A client that frames with Content-Length: vscode-jsonrpc (npm), which editors and language servers speak.
// `node vscode_client.mjs SOCKET` prints what it was answered and told as one JSON object.
import net from "node:net";
import * as rpc from "vscode-jsonrpc/node";

const socket = net.connect(process.argv[2]);
const connection = rpc.createMessageConnection(
  new rpc.StreamMessageReader(socket),
  new rpc.StreamMessageWriter(socket),
);
const told = [];
connection.onNotification("session_event", (event) => told.push(event));
connection.listen();

const created = await connection.sendRequest("create_session", rpc.ParameterStructures.byName, {
  agent: "ai-engineer",
  session_id: "vscode-1",
});
await connection.sendRequest("subscribe", rpc.ParameterStructures.byName, { session_id: "vscode-1" });
const text = "zwei\n\nZeilen 🟦";
const appended = await connection.sendRequest(
  "append_message", "ai-engineer", "vscode-1", "user", text,
);
const failed = await connection
  .sendRequest("get_last_session", rpc.ParameterStructures.byName, { agent: "ai-muse" })
  .catch((error) => ({ code: error.code, message: error.message, data: error.data }));
const got = await connection.sendRequest("get_session", "vscode-1");
console.log(JSON.stringify({ created, appended, failed, got, told }));
socket.destroy();
