// What a browser does: no headers of its own, the key among the subprotocols. It fails unless one is selected.
import WebSocket from "ws";

const ws = new WebSocket(process.env.URL, ["realtime", `openai-insecure-api-key.${process.env.KEY}`]);
ws.on("error", (error) => {
  console.error(error.message);
  process.exit(1);
});
ws.on("message", (message) => {
  console.log(JSON.stringify({ type: JSON.parse(message.toString()).type, protocol: ws.protocol }));
  ws.close();
});
