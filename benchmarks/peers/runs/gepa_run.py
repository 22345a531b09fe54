"""GEPA with its own engine, Pareto selection and reflective mutation."""

import gepa
from client import BUDGET, SEED, VALIDATION, answer_all, call, report, rewrite, shown, write
from gepa import EvaluationBatch, GEPAAdapter


class _Adapter(GEPAAdapter):
    """Task of the endpoint."""

    propose_new_texts = None

    def evaluate(self, batch, candidate, capture_traces=False):
        """Return answers and scores of a candidate."""
        results = answer_all(candidate["system"], batch)
        traces = [
            {"example": example, "text": text, "critique": critique}
            for example, (text, _, critique) in zip(batch, results)
        ]
        return EvaluationBatch(
            outputs=[text for text, _, _ in results],
            scores=[value for _, value, _ in results],
            trajectories=traces if capture_traces else None,
        )

    def make_reflective_dataset(self, candidate, eval_batch, components_to_update):
        """Return what the reflection reads."""
        records = [
            {
                "Inputs": trace["example"]["request"],
                "Generated Outputs": trace["text"],
                "Feedback": shown(trace["example"], trace["text"], trace["critique"]),
            }
            for trace in eval_batch.trajectories
        ]
        return dict.fromkeys(components_to_update, records)


def reflect(prompt):
    """Return a new instruction, in the form that GEPA reads."""
    text = prompt if isinstance(prompt, str) else str(prompt)
    current = text.split("```")[1].strip() if text.count("```") >= 2 else ""
    return f"```\n{rewrite(current, write(text))}\n```"


class _Progress:
    """Observer that reports each new best candidate."""

    def on_valset_evaluated(self, event):
        """Report a candidate that is the best on the validation set."""
        if event["is_best_program"]:
            report(event["candidate"]["system"])


task = call("/task")
result = gepa.optimize(
    seed_candidate={"system": task["seed_prompt"]},
    trainset=task["train"],
    valset=task["validation"][:VALIDATION],
    adapter=_Adapter(),
    reflection_lm=reflect,
    max_metric_calls=BUDGET,
    seed=SEED,
    callbacks=[_Progress()],
)
report(result.best_candidate["system"])
