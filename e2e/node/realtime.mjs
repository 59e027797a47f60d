// The OpenAI SDK's realtime client over `ws`. It speaks wss only: BASE is an https address.
import OpenAI from "openai";
import { OpenAIRealtimeWS } from "openai/realtime/ws";

const client = new OpenAI({ apiKey: process.env.KEY, baseURL: process.env.BASE });
const rt = new OpenAIRealtimeWS({ model: "voice" }, client);
const seen = [];
rt.on("error", (error) => {
  console.error(error.message);
  process.exit(1);
});
rt.on("event", (event) => seen.push(event.type));
rt.on("session.created", (event) => {
  console.log(JSON.stringify({ model: event.session.model }));
  rt.send({ type: "session.update", session: { type: "realtime", model: "voice", output_modalities: ["text"] } });
  const content = [{ type: "input_text", text: "Say hello in one word." }];
  rt.send({ type: "conversation.item.create", item: { type: "message", role: "user", content } });
  rt.send({ type: "response.create" });
});
rt.on("response.output_text.done", (event) => console.log(JSON.stringify({ said: event.text })));
rt.on("response.done", (event) => {
  console.log(JSON.stringify({ tokens: event.response.usage.total_tokens > 0, events: seen }));
  rt.close({ code: 1000, reason: "OK" });
});
