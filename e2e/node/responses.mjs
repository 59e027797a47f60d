// The OpenAI SDK's Responses: one, what goes on from it, a stream, one of nobody. BASE is the base URL.
import OpenAI from "openai";

const client = new OpenAI({ apiKey: process.env.KEY, baseURL: process.env.BASE, maxRetries: 0, timeout: 20_000 });
const model = "gpt-5-mini";

const first = await client.responses.create({ model, input: "Say hello in one word." });
const second = await client.responses.create({ model, input: "And now?", previous_response_id: first.id });
const kept = await client.responses.retrieve(second.id);
console.log(JSON.stringify({ said: first.output_text, follows: kept.previous_response_id === first.id }));

const seen = [];
const stream = await client.responses.create({ model, input: "Go on.", previous_response_id: second.id, stream: true });
for await (const event of stream) seen.push(event);
const last = seen.at(-1);
console.log(JSON.stringify({ last: last.type, tokens: last.response.usage.total_tokens > 0 }));

const include = ["reasoning.encrypted_content"];
const options = { model: "gpt-5", store: false, include, reasoning: { effort: "low" } };
const thought = await client.responses.create({ ...options, input: "Think." });
const input = [...thought.output, { role: "user", content: "And?" }];
const again = await client.responses.create({ ...options, input });
console.log(JSON.stringify({ thought: thought.output[0].type, again: again.status }));

try {
  await client.responses.retrieve("resp_000001");
} catch (error) {
  console.log(JSON.stringify({ error: error.constructor.name, status: error.status, code: error.code }));
}
