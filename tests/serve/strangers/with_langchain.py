"""LangChain program that knows only the address of a gateway; prints the completions as JSON.

Run with the address of a gateway, by an interpreter that has ``langchain-openai``.
"""

import asyncio
import json
import sys


def main(url):
    from langchain_core.tools import tool
    from langchain_openai import ChatOpenAI
    from pydantic import BaseModel

    class Hours(BaseModel):
        """Opening hours."""

        a: int

    @tool
    def add_one(a: int) -> int:
        """Add one."""
        return a + 1

    def whole(chunks):
        result = None
        for chunk in chunks:
            result = chunk if result is None else result + chunk
        return result

    async def later(model):
        answer = await model.ainvoke("later")
        pieces = [chunk async for chunk in model.astream("later, in pieces")]
        return answer, whole(pieces)

    model = ChatOpenAI(
        model="small", base_url=url, api_key="none", include_response_headers=True, temperature=0.5
    )
    answers = {
        "invoked": model.invoke([("system", "Be brief."), ("human", "at once")]),
        "streamed": whole(model.stream("in pieces", stream_usage=True)),
        "called": model.bind_tools([add_one]).invoke("with a tool"),
    }
    answers["awaited"], answers["awaited pieces"] = asyncio.run(later(model))
    shaped = model.with_structured_output(Hours, method="function_calling", include_raw=True)
    result = shaped.invoke("in a shape")
    answers["shaped"] = result["raw"]
    strict = model.with_structured_output(Hours, method="json_schema", include_raw=True)
    strictly = strict.invoke("in a strict shape")
    answers["strictly shaped"] = strictly["raw"]
    output = {
        name: {
            "text": answer.content,
            "id": answer.response_metadata.get("id"),
            "header": answer.response_metadata["headers"]["x-backtalk-interaction"],
            "calls": [{"name": call["name"], "args": call["args"]} for call in answer.tool_calls],
            "tokens": (answer.usage_metadata or {}).get("total_tokens"),
        }
        for name, answer in answers.items()
    }
    output["shaped"]["value"] = result["parsed"].a
    output["strictly shaped"]["value"] = strictly["parsed"].a
    sys.stdout.write(json.dumps(output))


if __name__ == "__main__":
    main(sys.argv[1])
