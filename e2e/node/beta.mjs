// A client of the beta: its header, its way to send a key, its name for what comes back. URL has the model.
import WebSocket from "ws";

const headers = { "api-key": process.env.KEY, "OpenAI-Beta": "realtime=v1" };
const ws = new WebSocket(process.env.URL, { headers });
const seen = [];

ws.on("open", () => {
  const response = { modalities: ["text"], instructions: "Please assist the user." };
  ws.send(JSON.stringify({ type: "response.create", response }));
});

ws.on("message", (message) => {
  const event = JSON.parse(message.toString());
  seen.push(event.type);
  if (event.type === "error") console.error(event.error.message);
  if (event.type === "response.done") {
    console.log(JSON.stringify({ events: seen, status: event.response.status, usage: event.response.usage }));
    ws.close();
  }
});

ws.on("error", (error) => {
  console.error("Error: ", error.message);
  process.exit(1);
});
ws.on("close", () => process.exit(seen.includes("response.done") ? 0 : 1));
setTimeout(() => process.exit(2), 20_000);
