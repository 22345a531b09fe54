"""A DSPy program that knows nothing of Backtalk but an address; prints what it got.

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
        answers = result if isinstance(result, tuple) else (result,)
        return {"ids": [answer.id for answer in answers]}

    told = {"asked": {"text": model("at once")[0], **last()}}
    told["asked again"] = {"text": model("at once")[0], **last()}
    told["several"] = {"text": model("several", n=2), **last()}
    told["awaited"] = {"text": asyncio.run(model.acall("later"))[0], **last()}
    dspy.configure(lm=model)
    predicted = dspy.Predict("question -> answer")(question="Is it open?")
    told["predicted"] = {"text": predicted.answer, **last()}
    reasoned = dspy.ChainOfThought("question -> answer")(question="Is it open today?")
    told["reasoned"] = {"text": reasoned.answer, **last()}
    sys.stdout.write(json.dumps(told))


if __name__ == "__main__":
    main(sys.argv[1])
