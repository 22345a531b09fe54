"""TextGrad: textual gradient descent on the system prompt, with validation of each step."""

import random

import textgrad
from client import BUDGET, SEED, answer_all, call, report, rewrite, shown, write
from textgrad.engine.base import EngineLM

BATCH = 4
VALIDATION = 12


class _Writer(EngineLM):
    """Writer of the endpoint; it puts its reply into the tags that TextGrad asks for."""

    model_string = "writer"

    def generate(self, prompt, system_prompt=None, **_):
        """Return feedback, or an improved variable."""
        text = f"{system_prompt or ''}\n{prompt}"
        rule = write(text)
        if "<IMPROVED_VARIABLE>" in text:
            value = rewrite(prompt_variable.value, rule or self.last)
            return f"<IMPROVED_VARIABLE>{value}</IMPROVED_VARIABLE>"
        self.last = rule or self.last
        return f"{text[-2000:]}\nFollow this rule: {rule}"

    last = ""
    __call__ = generate


task = call("/task")
engine = _Writer()
prompt_variable = textgrad.Variable(
    task["seed_prompt"], requires_grad=True, role_description="system prompt"
)
optimizer = textgrad.TextualGradientDescent(parameters=[prompt_variable], engine=engine)
rng = random.Random(SEED)
validation = task["validation"][:VALIDATION]


def mean_score(system):
    """Return the mean score on the validation set."""
    return sum(value for _, value, _ in answer_all(system, validation)) / VALIDATION


best, best_score, spent = task["seed_prompt"], mean_score(task["seed_prompt"]), VALIDATION
while spent + BATCH + VALIDATION <= BUDGET:
    optimizer.zero_grad()
    batch = rng.sample(task["train"], BATCH)
    losses = []
    for example, (text, _, critique) in zip(batch, answer_all(prompt_variable.value, batch)):
        loss = textgrad.TextLoss(shown(example, text, critique), engine=engine)
        losses.append(loss(prompt_variable))
    textgrad.sum(losses).backward(engine)
    optimizer.step()
    value = mean_score(prompt_variable.value)
    spent += BATCH + VALIDATION
    if value > best_score:
        best, best_score = prompt_variable.value, value
        report(best)
    else:
        prompt_variable.set_value(best)
report(best)
