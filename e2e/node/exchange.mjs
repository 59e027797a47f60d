// The exchange that one types into a WebSocket client: an item, then a response in the beta's words. No header says so.
import WebSocket from "ws";

const ws = new WebSocket(process.env.URL, { headers: { Authorization: `Bearer ${process.env.KEY}` } });
const LINES = [
  '{"type":"conversation.item.create","item":{"type":"message","role":"user","content":[{"type":"input_text","text":"Say hello in one word."}]}}',
  '{"type":"response.create","response":{"modalities":["text"]}}',
];
let extensions = null;

ws.on("open", () => {
  extensions = ws.extensions;
  LINES.forEach((line) => ws.send(line));
});
ws.on("message", (message) => {
  const event = JSON.parse(message.toString());
  if (event.type === "error") console.error(event.error.message);
  if (event.type === "response.done") {
    console.log(JSON.stringify({ status: event.response.status, usage: event.response.usage, extensions }));
    ws.close(1000);
  }
});
ws.on("close", (code) => console.log(JSON.stringify({ code })));
setTimeout(() => process.exit(2), 20_000).unref();
