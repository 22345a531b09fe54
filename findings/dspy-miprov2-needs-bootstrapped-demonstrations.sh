#!/bin/sh
# dspy 3.4.1: MIPROv2 cannot use labelled demonstrations alone.
#
# max_bootstrapped_demos and max_labeled_demos limit the two sources of demonstrations. Both at 0
# optimise the instruction alone. With max_bootstrapped_demos=0 and max_labeled_demos=2 (labelled
# demonstrations are wanted, answers of the model are not), compile() ends with an error of the
# random generator, which names neither option. With max_bootstrapped_demos=1 it runs.
#
# Expected: demonstrations are drawn from the labelled examples.
#
# Output seen:
#   bootstrapped 0, labelled 2: ValueError: empty range for randrange() (1, 1, 0)
#   bootstrapped 1, labelled 2: a Predict
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --no-compile "dspy[optuna]==3.4.1"
cat > check.py <<'PYTHON'
import io
from contextlib import redirect_stdout

import dspy
from dspy.utils import DummyLM

EXAMPLES = [
    dspy.Example(question=f"{number} + 1?", answer=str(number + 1)).with_inputs("question")
    for number in range(8)
]
REPLIES = {"answer": "1", "observations": "Sums.", "summary": "Sums."}
REPLIES |= {"program_description": "Adds.", "module_description": "Adds."}
REPLIES |= {"proposed_instruction": "Add 1."}
dspy.configure(lm=DummyLM([REPLIES] * 500))


def metric(example, prediction, trace=None):
    return True


def outcome(bootstrapped):
    optimizer = dspy.MIPROv2(
        metric=metric, auto=None, num_candidates=4, num_threads=1,
        max_bootstrapped_demos=bootstrapped, max_labeled_demos=2,
    )
    try:
        with redirect_stdout(io.StringIO()):
            best = optimizer.compile(
                dspy.Predict("question -> answer"), trainset=EXAMPLES, valset=EXAMPLES,
                num_trials=2, minibatch=False, seed=1,
            )
    except ValueError as error:
        return f"ValueError: {error}"
    return f"a {type(best).__name__}"


results = {bootstrapped: outcome(bootstrapped) for bootstrapped in (0, 1)}
for bootstrapped, result in results.items():
    print(f"bootstrapped {bootstrapped}, labelled 2: {result}")
assert results == {0: "ValueError: empty range for randrange() (1, 1, 0)", 1: "a Predict"}
PYTHON
venv/bin/python check.py 2> errors || { cat errors; exit 1; }
