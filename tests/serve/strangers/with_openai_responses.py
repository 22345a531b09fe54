"""Program with the ``openai`` client that knows only the address of a gateway; prints JSON.

Run with the address of a gateway and a model, by an interpreter that has ``openai``.
"""

import asyncio
import json
import sys


def main(url, model, _part):
    from openai import AsyncOpenAI, OpenAI

    client = OpenAI(base_url=url, api_key="none", max_retries=0)

    async def later():
        async with AsyncOpenAI(base_url=url, api_key="none") as asynchronous:
            return await asynchronous.responses.create(
                model=model, input="Say hello.", max_output_tokens=8
            )

    first = client.responses.create(model=model, input="Say hello.", max_output_tokens=8)
    pieces = [
        event.delta
        for event in client.responses.create(
            model=model, input="Say hello.", max_output_tokens=8, stream=True
        )
        if event.type == "response.output_text.delta"
    ]
    second = client.responses.create(
        model=model, input="And goodbye.", max_output_tokens=8, previous_response_id=first.id
    )
    output = {
        "first": {"id": first.id, "text": first.output_text},
        "second": {"id": second.id, "text": second.output_text},
        "awaited": {"id": asyncio.run(later()).id},
        "pieces": pieces,
        "retrieved": client.responses.retrieve(first.id).output_text,
        "tokens": first.usage.total_tokens,
    }
    client.responses.delete(second.id)
    sys.stdout.write(json.dumps(output))


if __name__ == "__main__":
    main(*sys.argv[1:])
