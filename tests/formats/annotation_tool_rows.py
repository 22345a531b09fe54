"""Rows as Label Studio and inspect_ai export them: their structures, invented contents."""

PAIR = {"prompt": "2 + 2?", "answer1": "4", "answer2": "5", "topic": "sums"}
"""Data of a task with two answers."""


def result(control, to_name, kind, **value):
    """Return the result of one control."""
    return {
        "id": f"{control}-region",
        "from_name": control,
        "to_name": to_name,
        "type": kind,
        "origin": "manual",
        "value": value,
    }


SELECTED = result("comparison", "comparison", "pairwise", selected="left")
CHOSEN = result("tone_1", "answer1", "choices", choices=["Good"])
RATED = result("stars_2", "answer2", "rating", rating=2)
WRITTEN = result("remark", "prompt", "textarea", text=["Clear."])


def annotation(day, person, *results, **fields):
    """Return the annotation of a person on a day, which is also its id."""
    return {
        "id": day,
        "completed_by": person,
        "result": list(results),
        "was_cancelled": False,
        "ground_truth": False,
        "created_at": f"2026-03-0{day}T09:00:00.000000Z",
        "updated_at": f"2026-03-0{day}T09:05:00.000000Z",
        "lead_time": 12.5,
        "result_count": len(results),
        "task": 7,
        **fields,
    }


def task(*annotations, data=PAIR, **fields):
    """Return a task of the export JSON."""
    return {
        "id": 7,
        "annotations": list(annotations),
        "file_upload": "tasks.json",
        "drafts": [],
        "predictions": [],
        "data": data,
        "meta": {},
        "created_at": "2026-03-01T08:00:00.000000Z",
        "updated_at": "2026-03-01T09:05:00.000000Z",
        "inner_id": 1,
        "total_annotations": len(annotations),
        "project": 1,
        "comment_authors": [],
        **fields,
    }


JSON_MIN = {
    **PAIR,
    "id": 7,
    "comparison": [{"selected": "left"}],
    "tone_1": "Good",
    "stars_2": [{"rating": 2}],
    "remark": "Clear.",
    "annotator": 1,
    "annotation_id": 1,
    "created_at": "2026-03-01T09:00:00.000000Z",
    "updated_at": "2026-03-01T09:05:00.000000Z",
    "lead_time": 12.5,
}

RUN = {
    "eval_id": "e",
    "run_id": "r",
    "created": "2026-03-01T09:00:00+00:00",
    "task": "sums",
    "task_id": "t",
    "task_version": 0,
    "dataset": {"samples": 1, "sample_ids": ["one"]},
    "model": "openai/gpt-4o",
    "config": {"epochs": 1},
    "scorers": [
        {"name": "match", "options": {}},
        {"name": "model_graded_qa", "options": {"model": "openai/judge"}},
    ],
}


def sample(epoch=1, answer="4", scores=None, **fields):
    """Return a sample of a log, in the given epoch."""
    reply = {
        "id": "m2",
        "content": answer,
        "source": "generate",
        "role": "assistant",
        "model": "gpt-4o-2024-08-06",
    }
    return {
        "id": "one",
        "epoch": epoch,
        "input": "2 + 2?",
        "target": "4",
        "messages": [{"id": "m1", "content": "2 + 2?", "source": "input", "role": "user"}, reply],
        "output": {
            "model": "gpt-4o-2024-08-06",
            "choices": [{"message": reply, "stop_reason": "stop"}],
            "completion": answer,
        },
        "scores": {"match": {"value": "C", "answer": "4", "explanation": "4", "history": []}}
        if scores is None
        else scores,
        "metadata": {"level": 1},
        "started_at": "2026-03-01T09:00:01.500000+00:00",
        "completed_at": "2026-03-01T09:00:02.500000+00:00",
        "uuid": f"sample-{epoch}",
        "attachments": {},
        **fields,
    }


def log(*samples, **fields):
    """Return a log of the JSON format."""
    return {"version": 2, "status": "success", "eval": RUN, "samples": list(samples), **fields}


ANNOTATION_TOOLS = {
    "label-studio": [
        task(annotation(1, 1, SELECTED, CHOSEN, RATED, WRITTEN)),
        {**JSON_MIN, "id": 8},
    ],
    "inspect-ai": [log(sample())],
}
"""Rows of each format."""
