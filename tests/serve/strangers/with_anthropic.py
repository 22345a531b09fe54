"""Program with the ``anthropic`` client that knows only the address of a gateway; prints JSON.

Run with the address of a gateway, a model and "text" or "tools", by an interpreter that has
``anthropic``.
"""

import json
import sys


def main(url, model, part):
    from anthropic import Anthropic

    client = Anthropic(base_url=url.removesuffix("/v1"), api_key="none", max_retries=0)
    messages = [{"role": "user", "content": "When do you open on Monday?"}]
    arguments = {"model": model, "max_tokens": 8, "messages": messages}
    run = call if part == "tools" else ask
    sys.stdout.write(json.dumps(run(client, arguments)))


def ask(client, arguments):
    whole = client.messages.create(system="Answer briefly.", **arguments)
    with client.messages.stream(**arguments) as stream:
        pieces = list(stream.text_stream)
        final = stream.get_final_message()
    counted = client.messages.count_tokens(model=arguments["model"], messages=arguments["messages"])
    return {
        "whole": {"id": whole.id, "text": whole.content[0].text, "reason": whole.stop_reason},
        "streamed": {"id": final.id, "text": final.content[0].text, "pieces": pieces},
        "counted": counted.input_tokens,
        "input": final.usage.input_tokens + (final.usage.cache_read_input_tokens or 0),
    }


def call(client, arguments):
    tool = {
        "name": "opening_hour",
        "description": "Return the opening hour of the shop on a day.",
        "input_schema": {
            "type": "object",
            "properties": {"day": {"type": "string"}},
            "required": ["day"],
        },
    }
    choice = {"type": "tool", "name": "opening_hour"}
    thinking = {"type": "enabled", "budget_tokens": 1024}
    with client.messages.stream(
        **{**arguments, "max_tokens": 2048}, tools=[tool], tool_choice=choice, thinking=thinking
    ) as stream:
        called = stream.get_final_message()
    (block,) = [block for block in called.content if block.type == "tool_use"]
    result = {"type": "tool_result", "tool_use_id": block.id, "content": "nine"}
    turns = [
        *arguments["messages"],
        {"role": "assistant", "content": called.content},
        {"role": "user", "content": [result]},
    ]
    answered = client.messages.create(**{**arguments, "messages": turns}, tools=[tool])
    return {
        "called": {"id": called.id, "name": block.name, "input": block.input},
        "types": [block.type for block in called.content],
        "answered": {"id": answered.id, "text": answered.content[0].text},
    }


if __name__ == "__main__":
    main(*sys.argv[1:])
