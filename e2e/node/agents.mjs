// @openai/agents-realtime in Node: URL is the address of the realtime path.
import { OpenAIRealtimeWebSocket, RealtimeAgent, RealtimeSession } from "@openai/agents-realtime";

const transport = new OpenAIRealtimeWebSocket({ url: process.env.URL });
const agent = new RealtimeAgent({ name: "helper", instructions: "Be brief." });
const session = new RealtimeSession(agent, {
  transport,
  model: "voice",
  config: { outputModalities: ["text"] },
});
const seen = [];
const errors = [];
session.on("error", (event) => errors.push(event));
session.on("transport_event", (event) => {
  seen.push(event.type);
  if (event.type === "response.done") {
    console.log(JSON.stringify({ events: [...new Set(seen)], errors, status: event.response.status }));
    session.close();
    setTimeout(() => process.exit(0), 200);
  }
});
await session.connect({ apiKey: process.env.KEY });
session.sendMessage("Hello, who are you?");
setTimeout(() => {
  console.error(JSON.stringify({ events: seen, errors }));
  process.exit(1);
}, 20_000);
