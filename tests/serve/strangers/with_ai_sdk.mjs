// Program with the AI SDK, which speaks the Responses API, that knows only the address of a
// gateway; prints JSON.
import { createOpenAI } from "@ai-sdk/openai";
import { generateText, stepCountIs, streamText, tool } from "ai";
import { z } from "zod";

const [url, name, part] = process.argv.slice(2);
const model = createOpenAI({ baseURL: url, apiKey: "none" })(name);

async function talk() {
  const first = await generateText({ model, prompt: "Say hello.", maxOutputTokens: 8, maxRetries: 0 });
  const streamed = streamText({ model, prompt: "Say hello.", maxOutputTokens: 8, maxRetries: 0 });
  const pieces = [];
  for await (const piece of streamed.textStream) pieces.push(piece);
  const messages = [
    { role: "user", content: "Say hello." },
    ...first.response.messages,
    { role: "user", content: "And goodbye." },
  ];
  const second = await generateText({ model, messages, maxOutputTokens: 8, maxRetries: 0 });
  return {
    first: { id: first.response.id, text: first.text },
    streamed: { id: (await streamed.response).id, text: pieces.join("") },
    second: { id: second.response.id, text: second.text },
  };
}

async function call() {
  const calls = [];
  const called = await generateText({
    model,
    prompt: "When do you open on Monday?",
    maxOutputTokens: 48,
    maxRetries: 0,
    stopWhen: stepCountIs(2),
    prepareStep: ({ stepNumber }) => ({ toolChoice: stepNumber === 0 ? "required" : "none" }),
    tools: {
      opening_hour: tool({
        description: "Return the opening hour of the shop on a day.",
        inputSchema: z.object({ day: z.string() }),
        execute: async ({ day }) => {
          calls.push(day);
          return "nine";
        },
      }),
    },
  });
  return { ids: called.steps.map((step) => step.response.id), text: called.text, calls };
}

console.log(JSON.stringify(await (part === "tools" ? call() : talk())));
