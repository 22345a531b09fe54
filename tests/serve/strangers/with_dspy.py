"""DSPy program that knows only the address of a gateway; prints the completions as JSON.

Run with the address of a gateway, by an interpreter that has ``dspy``.
"""

import asyncio
import json
import sys


def main(url):
    import dspy

    model = dspy.LM("openai/small", api_base=url, api_key="none", temperature=0.5, max_tokens=100)

    def last():
        result = model.history[-1]["response"]
        responses = result if isinstance(result, tuple) else (result,)
        return {"ids": [answer.id for answer in responses]}

    answers = {"asked": {"text": model("at once")[0], **last()}}
    answers["asked again"] = {"text": model("at once")[0], **last()}
    answers["several"] = {"text": model("several", n=2), **last()}
    answers["awaited"] = {"text": asyncio.run(model.acall("later"))[0], **last()}
    dspy.configure(lm=model)
    predicted = dspy.Predict("question -> answer")(question="Is it open?")
    answers["predicted"] = {"text": predicted.answer, **last()}
    reasoned = dspy.ChainOfThought("question -> answer")(question="Is it open today?")
    answers["reasoned"] = {"text": reasoned.answer, **last()}
    sys.stdout.write(json.dumps(answers))


if __name__ == "__main__":
    main(sys.argv[1])
