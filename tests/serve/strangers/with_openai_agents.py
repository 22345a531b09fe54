"""Program with the OpenAI Agents SDK that knows only the address of a gateway; prints JSON.

Run with the address of a gateway, a model and "text" or "tools", by an interpreter that has
``openai-agents``.
"""

import asyncio
import json
import sys


def main(url, model, part):
    from agents import (
        Agent,
        ModelSettings,
        OpenAIResponsesModel,
        Runner,
        function_tool,
        set_tracing_disabled,
    )
    from openai import AsyncOpenAI

    set_tracing_disabled(True)
    calls = []

    @function_tool
    def opening_hour(day: str) -> str:
        """Return the opening hour of the shop on a day."""
        calls.append(day)
        return "nine"

    client = AsyncOpenAI(base_url=url, api_key="none", max_retries=0)

    def agent(**settings):
        return Agent(
            name="Shop",
            instructions="Answer briefly.",
            model=OpenAIResponsesModel(model=model, openai_client=client),
            model_settings=ModelSettings(max_tokens=32, **settings),
            tools=[opening_hour] if settings else [],
        )

    async def call():
        called = await Runner.run(agent(tool_choice="opening_hour"), "When do you open on Monday?")
        return {
            "text": called.final_output,
            "calls": calls,
            "ids": [response.response_id for response in called.raw_responses],
        }

    async def talk():
        whole = await Runner.run(agent(), "Are you open?")
        streamed = Runner.run_streamed(agent(), "Are you open?")
        kinds = [event.type async for event in streamed.stream_events()]
        return {
            "text": whole.final_output,
            "ids": [response.response_id for response in whole.raw_responses],
            "streamed": streamed.final_output,
            "kinds": sorted(set(kinds)),
        }

    sys.stdout.write(json.dumps(asyncio.run(call() if part == "tools" else talk())))


if __name__ == "__main__":
    main(*sys.argv[1:])
