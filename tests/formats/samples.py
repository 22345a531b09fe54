"""Sample rows of every layout, and helpers that write and read rows."""

import json

from backtalk.formats import ParsedRow, RejectedRow, read
from tests.formats.annotation_tool_rows import ANNOTATION_TOOLS
from tests.formats.feedback_dataset_rows import FEEDBACK_DATASETS
from tests.formats.trace_tool_rows import TRACE_TOOLS

CHAT = [{"role": "user", "content": "2 + 2?"}]


def answer(text):
    """Return an assistant message."""
    return {"role": "assistant", "content": text}


def with_parts(role, text):
    """Return a message in the layout of LLaMA-Factory's version 1."""
    return {"role": role, "content": [{"type": "text", "value": text}], "loss_weight": 0.0}


def write_rows(path, *rows):
    """Write rows as JSON lines, and return the path."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def read_case(path, **options):
    """Return the only case of the only row."""
    (row,) = read(path, **options)
    assert isinstance(row, ParsedRow), row
    (case,) = row.cases
    return case


def read_changed(tmp_path, row, **changes):
    """Return the case of a row with changes."""
    return read_case(write_rows(tmp_path / "rows.jsonl", {**row, **changes}))


def read_reason(tmp_path, row, **changes):
    """Return the reason for which a row with changes, the second of two, is set aside."""
    first, second = read(write_rows(tmp_path / "rows.jsonl", row, {**row, **changes}))
    assert isinstance(first, ParsedRow), first
    assert isinstance(second, RejectedRow), second
    assert second.line == 2
    return second.reason


SAMPLES = {
    "trl-preference": {"prompt": "2 + 2?", "chosen": "4", "rejected": "5"},
    "trl-unpaired": {"prompt": "2 + 2?", "completion": "4", "label": True},
    "trl-prompt-completion": {"prompt": "2 + 2?", "completion": "4"},
    "trl-stepwise": {"prompt": "2 + 2?", "completions": ["Two", "Four"], "labels": [True, False]},
    "openai-chat": {"messages": [*CHAT, {"role": "assistant", "content": "4"}]},
    "openai-preference": {
        "input": {"messages": CHAT},
        "preferred_output": [{"role": "assistant", "content": "4"}],
        "non_preferred_output": [{"role": "assistant", "content": "5"}],
    },
    "hh-rlhf": {
        "chosen": "\n\nHuman: 2 + 2?\n\nAssistant: 4",
        "rejected": "\n\nHuman: 2 + 2?\n\nAssistant: 5",
    },
    "ultrafeedback": {
        "instruction": "2 + 2?",
        "completions": [
            {
                "response": "4",
                "model": "m",
                "overall_score": 9,
                "critique": "Right.",
                "annotations": {"honesty": {"Rating": "5", "Rationale": "Sure."}},
            }
        ],
    },
    "prm800k": {
        "labeler": "ada",
        "timestamp": "2022-07-17T17:16:36",
        "question": {"problem": "2 + 2?"},
        "label": {
            "steps": [
                {
                    "completions": [
                        {"text": "Two and two.", "rating": 1, "flagged": False},
                        {"text": "A guess.", "rating": -1, "flagged": False},
                    ],
                    "human_completion": None,
                    "chosen_completion": 0,
                },
                {
                    "completions": [{"text": "Five.", "rating": -1, "flagged": False}],
                    "human_completion": None,
                    "chosen_completion": None,
                },
            ],
            "finish_reason": "found_error",
        },
    },
    "openassistant": {
        "message_tree_id": "t",
        "prompt": {
            "message_id": "t",
            "role": "prompter",
            "text": "2 + 2?",
            "replies": [
                {"message_id": "a", "role": "assistant", "text": "5", "rank": 1, "replies": []},
                {"message_id": "b", "role": "assistant", "text": "4", "rank": 0, "replies": []},
            ],
        },
    },
    "argilla": {
        "id": "r",
        "fields": {"prompt": "2 + 2?", "response": "4"},
        "responses": {"quality": [{"value": 5, "user_id": "ada", "status": "submitted"}]},
        "suggestions": {},
        "metadata": {},
    },
    "alpaca-eval": {
        "instruction": "2 + 2?",
        "output_1": "4",
        "output_2": "5",
        "generator_1": "m",
        "generator_2": "n",
        "preference": 1.25,
        "annotator": "judge",
    },
    "fine-grained-qa": {
        "question": "Who?",
        "passages": [["A title", "One sentence.", "Another."], ["B", "Third."]],
        "prediction 1": "It was ada.",
        "prediction 2": "Bo",
        "prediction 3": "Cy",
        "prediction 4": "Di",
        "feedback": {
            "errors": [{"start": 3, "end": 6, "error type": "wrong-grounding"}],
            "missing-info": [{"passage_id": 1, "sentence_id": [1, 2], "error type": "missing"}],
            "corrected-prediction": "It is ada.",
        },
        "preference": [1, 2, 0, 1, 2, 0],
        "gold": "Ada.",
    },
    "ilf-mbpp": {
        "task_id": 602,
        "prompt": "def double(x):\n",
        "original_model_completion": "def double(x):\n    return x\n",
        "Feedback": "It returns its argument.",
        "unedited_annotator_completion": "def double(x):\n    return 2 * x\n",
        "completion": "    return 2 * x\n",
        "test": "assert double(1) == 2",
        "passed": True,
        "result": "passed",
    },
    "gsm8k-solutions": {
        "question": "2 + 2?",
        "ground_truth": "4 #### 4",
        "6B_finetuning": {"solution": "5", "is_correct": False},
        "175B_verification": {"solution": "4", "is_correct": True},
    },
    "chatbot-arena": {
        "question_id": "q",
        "model_a": "m",
        "model_b": "n",
        "winner": "model_a",
        "judge": "arena_user_1",
        "conversation_a": [*CHAT, answer("4")],
        "conversation_b": [*CHAT, answer("5")],
        "turn": 1,
    },
    "kaggle-arena": {
        "id": "30192",
        "model_a": "m",
        "model_b": "n",
        "prompt": '["2 + 2?"]',
        "response_a": '["4"]',
        "response_b": '["5"]',
        "winner_model_a": "1",
        "winner_model_b": "0",
        "winner_tie": "0",
    },
    "sharegpt": {
        "conversations": [{"from": "human", "value": "2 + 2?"}, {"from": "gpt", "value": "4"}]
    },
    "llama-factory-ranking": {
        "conversations": [{"from": "human", "value": "2 + 2?"}],
        "chosen": {"from": "gpt", "value": "4"},
        "rejected": {"from": "gpt", "value": "5"},
    },
    "llama-factory-v1": {
        "chosen_messages": [with_parts("user", "2 + 2?"), with_parts("assistant", "4")],
        "rejected_messages": [with_parts("user", "2 + 2?"), with_parts("assistant", "5")],
    },
    "kto": {"messages": [*CHAT, answer("4")], "label": True},
    "scored-preference": {
        "source": "s",
        "prompt": "2 + 2?",
        "chosen": [*CHAT, answer("4")],
        "rejected": [*CHAT, answer("5")],
        "rating_chosen": 5,
        "rating_rejected": 3,
        "chosen_model": "m",
        "rejected_model": "n",
    },
    "axolotl-preference": {
        "system": "Be brief.",
        "instruction": "2 + 2?",
        "chosen_response": "4",
        "rejected_response": "5",
    },
    "alpaca": {"instruction": "2 + 2?", "input": "", "output": "4"},
    "dolly": {
        "instruction": "Is it even?",
        "context": "2 + 2?",
        "response": "4 is.",
        "category": "closed_qa",
    },
    "backtalk": {
        "interaction": {
            "id": "interaction-1",
            "prompt": CHAT,
            "responses": [{"id": "0", "text": "4"}],
            "time": None,
        },
        "feedback": [
            {
                "kind": "label",
                "id": "label-1",
                "interaction": "interaction-1",
                "annotator": {"id": "ada", "kind": "human"},
                "time": None,
                "response": "0",
                "good": True,
            }
        ],
    },
} | {name: rows[0] for name, rows in (FEEDBACK_DATASETS | ANNOTATION_TOOLS | TRACE_TOOLS).items()}
"""One row of each format."""

VARIANTS = {
    "trl-preference": [
        {"prompt": CHAT, "chosen": [answer("4")], "rejected": [answer("5")]},
        {"chosen": [*CHAT, answer("4")], "rejected": [*CHAT, answer("5")]},
        {"system": "Be brief.", "question": "2 + 2?", "chosen": "4", "rejected": "5"},
        {"prompt": CHAT, "chosen": [*CHAT, answer("4")], "rejected": [*CHAT, answer("5")]},
    ],
    "trl-unpaired": [{"prompt": CHAT, "completion": [answer("4")], "label": False}],
    "trl-prompt-completion": [{"prompt": CHAT, "completion": [answer("4")]}],
    "ultrafeedback": [
        {
            "prompt": "2 + 2?",
            "prompt_id": "p",
            "messages": [*CHAT, answer("4")],
            "chosen": [*CHAT, answer("4")],
            "rejected": [*CHAT, answer("5")],
            "score_chosen": 8.5,
            "score_rejected": 4.0,
        }
    ],
    "openassistant": [
        {"message_id": "t", "parent_id": None, "role": "prompter", "text": "2 + 2?"},
        {
            "thread_id": "t",
            "thread": [
                {"message_id": "t", "role": "prompter", "text": "2 + 2?"},
                {"message_id": "a", "role": "assistant", "text": "4"},
            ],
        },
    ],
    "argilla": [
        {
            "id": "r",
            "prompt": "2 + 2?",
            "response-1": "4",
            "response-2": "5",
            "best.responses": ["response-1", "neither"],
            "best.responses.users": ["ada", "bo"],
            "best.responses.status": ["submitted", "submitted"],
            "best.suggestion": "response-2",
            "best.suggestion.agent": "judge",
            "best.suggestion.score": 0.7,
        },
        {
            "prompt": "2 + 2?",
            "response": "4",
            "quality": [
                {"user_id": "ada", "value": 5, "status": "submitted"},
                {"user_id": "bo", "value": 1, "status": "discarded"},
            ],
            "quality-suggestion": 4,
            "quality-suggestion-metadata": {"type": "model", "agent": "judge", "score": None},
            "external_id": "r",
        },
        {
            "fields": {"prompt": "2 + 2?", "response": "4"},
            "responses": [
                {
                    "user_id": "ada",
                    "status": "submitted",
                    "values": {"quality": {"value": 5}, "fix": {"value": "It is 4."}},
                }
            ],
            "suggestions": [
                {"question_name": "quality", "value": 4, "type": "model", "agent": "judge"}
            ],
        },
    ],
    "alpaca-eval": [{"instruction": "2 + 2?", "output": "4", "preference": 0.9}],
} | {name: rows[1:] for name, rows in (FEEDBACK_DATASETS | ANNOTATION_TOOLS | TRACE_TOOLS).items()}
"""Other variants of the same formats."""


def all_samples():
    """Return all samples with the names of their formats."""
    return [*SAMPLES.items(), *((name, row) for name, rows in VARIANTS.items() for row in rows)]
