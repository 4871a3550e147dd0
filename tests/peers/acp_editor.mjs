// An editor made of the client in ACP's TypeScript SDK. Its arguments: the SDK's folder, then the agent's command.
// It begins a session, asks, allows what the agent asks, and loads the session again; it prints what it was sent.
import { spawn } from "node:child_process";
import { Readable, Writable } from "node:stream";
import { pathToFileURL } from "node:url";

const [folder, command, ...words] = process.argv.slice(2);
const acp = await import(pathToFileURL(`${folder}/dist/v1/stable/acp.js`));
const agent = spawn(command, words, { stdio: ["pipe", "pipe", "inherit"] });
const print = (value) => console.log(JSON.stringify(value));
const { agent: methods, client: ours } = acp.methods;

await acp
  .client({ name: "editor" })
  .onNotification(ours.session.update, ({ params }) => print({ update: params.update }))
  .onRequest(ours.session.requestPermission, ({ params }) => {
    print({ permission: params.toolCall });
    return { outcome: { outcome: "selected", optionId: params.options[0].optionId } };
  })
  .connectWith(acp.ndJsonStream(Writable.toWeb(agent.stdin), Readable.toWeb(agent.stdout)), async (ctx) => {
    print(await ctx.request(methods.initialize, { protocolVersion: acp.PROTOCOL_VERSION, clientCapabilities: {} }));
    const { sessionId } = await ctx.request(methods.session.new, { cwd: "/tmp", mcpServers: [] });
    const prompt = [{ type: "text", text: "edit allow_once reject_once" }];
    print({ prompt: await ctx.request(methods.session.prompt, { sessionId, prompt }) });
    print({ list: await ctx.request(methods.session.list, {}) });
    await ctx.request(methods.session.close, { sessionId });
    await ctx.request(methods.session.load, { sessionId, cwd: "/tmp", mcpServers: [] });
    print({ loaded: sessionId });
  });
agent.stdin.end();
