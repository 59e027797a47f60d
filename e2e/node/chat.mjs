// The OpenAI SDK: a chat completion, a stream, a refusal, the models that there are. BASE is the base URL.
import OpenAI from "openai";

const client = new OpenAI({ apiKey: process.env.KEY, baseURL: process.env.BASE, maxRetries: 0, timeout: 20_000 });
const messages = [{ role: "user", content: "Say hello in one word." }];

const completion = await client.chat.completions.create({ model: "gpt-5-mini", messages });
console.log(JSON.stringify({ chat: completion.choices[0].message.content, usage: completion.usage.total_tokens > 0 }));

const stream = await client.chat.completions.create({ model: "gpt-5", messages, stream: true });
let text = "";
let usage = 0;
for await (const chunk of stream) {
  text += chunk.choices[0]?.delta?.content ?? "";
  usage += chunk.usage ? 1 : 0;
}
console.log(JSON.stringify({ stream: text, usage }));

try {
  await client.chat.completions.create({ model: "gpt-4o", messages });
} catch (error) {
  console.log(JSON.stringify({ error: error.constructor.name, status: error.status, code: error.code }));
}

const names = [];
for await (const model of client.models.list()) names.push(model.id);
console.log(JSON.stringify({ models: names, one: (await client.models.retrieve("voice")).id }));
