// Program with OpenAI's client for Node that knows only the address of a gateway; prints JSON.
import OpenAI from "openai";

const [url, model] = process.argv.slice(2);
const client = new OpenAI({ baseURL: url, apiKey: "none", maxRetries: 0 });
const request = { model, input: "Say hello.", max_output_tokens: 8 };
const first = await client.responses.create(request);
const stream = client.responses.stream(request);
const pieces = [];
stream.on("response.output_text.delta", (event) => pieces.push(event.delta));
const streamed = await stream.finalResponse();
const second = await client.responses.create({ ...request, previous_response_id: first.id });
const retrieved = await client.responses.retrieve(first.id);
console.log(
  JSON.stringify({
    first: { id: first.id, text: first.output_text },
    streamed: { id: streamed.id, text: streamed.output_text, pieces },
    second: { id: second.id },
    retrieved: retrieved.output_text,
  }),
);
