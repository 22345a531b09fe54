"""MIPROv2 of DSPy, with an adapter that sends the instruction as it is."""

import re

import dspy
from client import BUDGET, SEED, VALIDATION, answer, call, report, rewrite, score, write

OWN_FIELDS = {"request", "answer"}
MINIBATCH = 12
FULL_EVALUATION_EVERY = 5


class _PlainAdapter(dspy.ChatAdapter):
    """Instruction as the system message, request and answer as turns, for the task's module."""

    def format(self, signature, demos, inputs):
        """Return the messages."""
        if set(signature.fields) != OWN_FIELDS:
            return super().format(signature, demos, inputs)
        messages = [{"role": "system", "content": signature.instructions}]
        for demo in demos:
            messages.append({"role": "user", "content": demo["request"]})
            messages.append({"role": "assistant", "content": demo["answer"]})
        return [*messages, {"role": "user", "content": inputs["request"]}]

    def parse(self, signature, completion):
        """Return the fields of a completion."""
        if set(signature.fields) != OWN_FIELDS:
            return super().parse(signature, completion)
        return {"answer": completion}


class _Writer(dspy.BaseLM):
    """Writer of the endpoint; it fills every field that DSPy asks for with its reply."""

    def __init__(self):
        super().__init__(model="writer", cache=False)
        self.last = ""

    def forward(self, prompt=None, messages=None, **_):
        """Return a completion in the form of DSPy's chat adapter."""
        text = prompt or "\n".join(str(message["content"]) for message in messages)
        rule = write(text)
        self.last = rule or self.last
        fields = re.findall(
            r"\[\[ ## (\w+) ## \]\]", str(messages[-1]["content"]) if messages else text
        )
        names = [name for name in dict.fromkeys(fields) if name != "completed"]
        # The last one: the first is the placeholder in the description of the format.
        current = re.findall(r"basic_instruction ## \]\]\n(.*?)\n\n", text, re.DOTALL)
        value = rewrite(current[-1] if current else call("/task")["seed_prompt"], self.last)
        reply = "\n\n".join(f"[[ ## {name} ## ]]\n{value}" for name in names or ["answer"])
        return dspy_reply(f"{reply}\n\n[[ ## completed ## ]]")


def dspy_reply(text):
    """Return a completion as DSPy's legacy models do."""
    from openai.types.chat import ChatCompletion

    return ChatCompletion.model_validate(
        {
            "id": "writer",
            "object": "chat.completion",
            "created": 0,
            "model": "writer",
            "choices": [
                {
                    "index": 0,
                    "finish_reason": "stop",
                    "message": {"role": "assistant", "content": text},
                }
            ],
            "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
        }
    )


class _TaskModel(dspy.BaseLM):
    """Task's model of the endpoint."""

    def forward(self, prompt=None, messages=None, **_):
        """Return the model's answer."""
        system = next((m["content"] for m in messages if m["role"] == "system"), "")
        turns = [m["content"] for m in messages if m["role"] != "system"]
        demonstrations = [
            {"request": turns[i], "answer": turns[i + 1]} for i in range(0, len(turns) - 1, 2)
        ]
        return dspy_reply(answer(system, turns[-1], demonstrations))


def _metric(example, prediction, trace=None):
    """Return the score of an answer."""
    return score(example.request, prediction.answer)[0]


def report_program(program):
    """Report the instruction and the demonstrations of a program."""
    demonstrations = [
        {"request": demo["request"], "answer": demo["answer"]} for demo in program.demos
    ]
    report(program.signature.instructions, demonstrations)


class _Optimizer(dspy.MIPROv2):
    """MIPROv2 that reports the best program after each full evaluation."""

    def _perform_full_evaluation(self, *arguments, **options):
        result = super()._perform_full_evaluation(*arguments, **options)
        report_program(result[1])
        return result


task = call("/task")
examples = {
    split: [
        dspy.Example(request=item["request"], answer=item["ideal"]).with_inputs("request")
        for item in task[split]
    ]
    for split in ("train", "validation")
}
dspy.configure(lm=_TaskModel(model="task", cache=False), adapter=_PlainAdapter())
student = dspy.Predict(dspy.Signature("request -> answer", task["seed_prompt"]))
trials = 1
while (trials + 1) * MINIBATCH + (2 + (trials + 1) // FULL_EVALUATION_EVERY) * VALIDATION <= BUDGET:
    trials += 1
optimizer = _Optimizer(
    metric=_metric, prompt_model=_Writer(), task_model=dspy.settings.lm, auto=None,
    num_candidates=6, num_threads=8, seed=SEED,
    max_bootstrapped_demos=0, max_labeled_demos=0,  # the small models read instructions alone
)  # fmt: skip
best = optimizer.compile(
    student,
    trainset=examples["train"],
    valset=examples["validation"][:VALIDATION],
    num_trials=trials,
    minibatch_size=MINIBATCH,
    minibatch_full_eval_steps=FULL_EVALUATION_EVERY,
)
report_program(best)
