// The SDK's class for Azure: a chat completion, a response, a realtime turn over `ws`, which speaks wss only.
// ENDPOINT is an https address, MODEL a deployment, SPEAKS one of realtime.
import { AzureOpenAI } from "openai";
import { OpenAIRealtimeWS } from "openai/realtime/ws";

const { KEY, ENDPOINT, MODEL, SPEAKS } = process.env;
const options = { apiKey: KEY, endpoint: ENDPOINT, apiVersion: "2025-04-01-preview", maxRetries: 0, timeout: 20_000 };
const client = new AzureOpenAI(options);
const messages = [{ role: "user", content: "Say hello in one word." }];

const completion = await client.chat.completions.create({ model: MODEL, messages });
console.log(JSON.stringify({ chat: completion.choices[0].message.content, model: completion.model }));

const made = await client.responses.create({ model: MODEL, input: "Say hello in one word." });
const next = await client.responses.create({ model: MODEL, input: "And?", previous_response_id: made.id });
console.log(JSON.stringify({ response: next.status, follows: next.previous_response_id === made.id }));

const rt = await OpenAIRealtimeWS.azure(new AzureOpenAI({ ...options, deployment: SPEAKS }));
rt.on("error", (error) => {
  console.error(error.message);
  process.exit(1);
});
rt.on("session.created", () => {
  rt.send({ type: "session.update", session: { type: "realtime", output_modalities: ["text"] } });
  rt.send({ type: "response.create" });
});
rt.on("response.done", (event) => {
  console.log(JSON.stringify({ realtime: event.response.status, tokens: event.response.usage.total_tokens > 0 }));
  rt.close({ code: 1000, reason: "OK" });
});
