// Says SAID in a session at URL, asks for an answer, and prints what an error says, and how the session ends.
import WebSocket from "ws";

const ws = new WebSocket(process.env.URL, { headers: { Authorization: `Bearer ${process.env.KEY}` } });

ws.on("open", () => {
  const item = { type: "message", role: "user", content: [{ type: "input_text", text: process.env.SAID }] };
  ws.send(JSON.stringify({ type: "conversation.item.create", item }));
  ws.send(JSON.stringify({ type: "response.create", response: { output_modalities: ["text"] } }));
});

ws.on("message", (message) => {
  const event = JSON.parse(message.toString());
  if (event.type === "error") console.log(JSON.stringify({ type: event.error.type, message: event.error.message }));
  if (event.type === "response.done") {
    console.log(JSON.stringify({ status: event.response.status }));
    ws.close(1000);
  }
});

ws.on("error", (error) => {
  console.error("Error: ", error.message);
  process.exit(1);
});
ws.on("close", (code) => {
  console.log(JSON.stringify({ code }));
  process.exit(0);
});
setTimeout(() => process.exit(2), 20_000);
