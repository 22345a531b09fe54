"""Layouts of trainers: ShareGPT, LLaMA-Factory, KTO, axolotl, distilabel, Alpaca and Dolly."""

import csv
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from backtalk.errors import BacktalkError
from backtalk.feedback import Critique, Demonstration, Label, Preference, Steps
from backtalk.feedback.conversions import views
from backtalk.feedback.views import Pair
from backtalk.formats import FORMATS, ParsedRow, RejectedRow, read
from backtalk.testing import check_format
from tests.formats.samples import answer, read_case, write_rows


def user(text):
    return {"role": "user", "content": text}


def system(text):
    return {"role": "system", "content": text}


def human(text):
    return {"from": "human", "value": text}


def gpt(text):
    return {"from": "gpt", "value": text}


QUESTION, YES, NO = "Is it open?", "Yes, from nine.", "Go away."
SHAREGPT = {"id": "identity_0", "conversations": [human("Hello"), gpt("Hi."), human(QUESTION)]}
SHAREGPT["conversations"].append(gpt(YES))
RANKING = {"conversations": [human(QUESTION)], "chosen": gpt(YES), "rejected": gpt(NO)}
AXOLOTL = {"messages": [system("Be brief."), user(QUESTION)]}
AXOLOTL |= {"chosen": answer(YES), "rejected": answer(NO)}
KTO = {"messages": [user(QUESTION), answer(NO)], "label": False}
KTO_TAG = {"conversations": [human(QUESTION), gpt(NO)], "kto_tag": False}
KTO_ALPACA = {"instruction": "Translate.", "input": "Tag", "output": "Day", "kto_tag": True}
KTO_MIX = {"dataset": "d", "completion": [user(QUESTION), answer(NO)], "label": False, "rating": 2}
KTO_ORCA = {"system": "", "prompt": QUESTION, "completion": NO, "label": False, "rating": 3.0}
KTO_ORCA |= {"status": "unchanged", "in_gsm8k_train": False}
CAPYBARA = {
    "source": "Airoboros",
    "conversation": [{"input": QUESTION, "output": YES}],
    "original_response": YES,
    "generation_prompt": [QUESTION],
    "raw_generation_responses": [NO],
    "new_generations": [NO],
    "prompt": QUESTION,
    "chosen": [user(QUESTION), answer(YES)],
    "rejected": [user(QUESTION), answer(NO)],
    "rating_chosen": 5,
    "rating_rejected": 2,
    "chosen_model": "capybara",
    "rejected_model": "mistral-7b",
}
INTEL_DISTILABEL = {
    "system": "Be brief.",
    "input": QUESTION,
    "chosen": YES,
    "rejected": NO,
    "generations": [NO, YES],
    "order": ["rejected", "chosen"],
    "labelling_model": "gpt-4-1106-preview",
    "labelling_prompt": [user("Rate both.")],
    "raw_labelling_response": "3 9\nThe second names the hour.",
    "rating": [3.0, 9.0],
    "rationale": "The second names the hour.",
    "status": "swapped",
    "original_chosen": NO,
    "original_rejected": YES,
    "chosen_score": 9.0,
    "in_gsm8k_train": False,
}
DPO_MIX = {
    "dataset": "argilla/distilabel-capybara-dpo",
    "chosen": [user("Hello"), answer("Hi."), user(QUESTION), answer(YES)],
    "rejected": [user("Hello"), answer("Hi."), user(QUESTION), answer(NO)],
    "chosen_rating": 5.0,
    "rejected_rating": 1.0,
}
ULTRAFEEDBACK_ARGILLA = {
    "source": "evol_instruct",
    "prompt": QUESTION,
    "chosen": [user(QUESTION), answer(YES)],
    "chosen-rating": 5.0,
    "chosen-model": "gpt-4",
    "rejected": [user(QUESTION), answer(NO)],
    "rejected-rating": 3.5,
    "rejected-model": "llama-2-7b-chat",
}
ULTRAFEEDBACK_TEXTS = {
    "source": "evol_instruct",
    "instruction": QUESTION,
    "chosen_response": YES,
    "rejected_response": NO,
    "chosen_avg_rating": 5.0,
    "rejected_avg_rating": 3.75,
    "chosen_model": "gpt-4",
}
HERMES = {
    "source": "airoboros2.2",
    "category": "orca",
    "system_prompt": "Be brief.",
    "conversations": [human(QUESTION), gpt(YES)],
    "input": QUESTION,
    "generation_model": ["mistral-7b"],
    "generations": [YES, NO],
    "rating": [0.2, -0.1],
    "chosen": [user(QUESTION), answer(YES)],
    "rejected": [user(QUESTION), answer(NO)],
    "chosen_model": "original",
    "rejected_model": "mistral-7b",
    "chosen_score": 0.2,
    "rejected_score": -0.1,
}
CHOSEN_RESPONSE = {"instruction": QUESTION, "chosen_response": YES, "rejected_response": NO}
ALPACA = {"instruction": "Translate.", "input": "Guten Tag", "output": "Good day"}
DOLLY = {
    "instruction": "When does it open?",
    "context": "The shop opens at nine.",
    "response": "At nine.",
    "category": "closed_qa",
}
V1 = {
    "messages": [
        {"role": "user", "content": [{"type": "text", "value": QUESTION}], "loss_weight": 0.0},
        {"role": "assistant", "content": [{"type": "text", "value": YES}], "loss_weight": 1.0},
    ]
}


def parse(tmp_path, row, **changes):
    return read_case(write_rows(tmp_path / "rows.jsonl", {**row, **changes}))


def pair_of(case):
    """Return the messages of the prompt, and both answers, of a case with one preference."""
    (pair,) = views(case, Pair)
    return [(item.role, item.text) for item in pair.prompt], pair.chosen, pair.rejected


@pytest.mark.parametrize(
    ("name", "rows"),
    [
        ("sharegpt", [SHAREGPT]),
        ("llama-factory-ranking", [RANKING, AXOLOTL]),
        ("llama-factory-v1", [V1]),
        ("kto", [KTO, KTO_ALPACA]),
        ("kto", [KTO_TAG]),
        ("kto", [KTO_MIX]),
        ("kto", [KTO_ORCA]),
        ("scored-preference", [CAPYBARA, INTEL_DISTILABEL, DPO_MIX]),
        ("scored-preference", [ULTRAFEEDBACK_ARGILLA, HERMES]),
        ("scored-preference", [ULTRAFEEDBACK_TEXTS]),
        ("axolotl-preference", [CHOSEN_RESPONSE]),
        ("alpaca", [ALPACA]),
        ("dolly", [DOLLY]),
    ],
)
def test_laws_of_the_formats(name, rows):
    check_format(FORMATS.get(name), rows)


SPOILED = [
    (SHAREGPT, {"conversations": [human(QUESTION)]}, "conversations: there is no assistant"),
    (SHAREGPT, {"conversations": [human("A"), {"from": "narrator", "value": "B"}]}, "conversation"),
    (SHAREGPT, {"conversations": "Hello"}, "conversations: expected a list"),
    (RANKING, {"chosen": None}, "chosen: missing"),
    (RANKING, {"rejected": ""}, "rejected: missing"),
    (RANKING, {"rejected": gpt(YES)}, "the preferred response is the same"),
    (RANKING, {"chosen": human(YES)}, "chosen: an answer is an assistant's message"),
    (RANKING, {"conversations": [human(QUESTION), gpt("Maybe.")]}, "conversations: it ends with"),
    (AXOLOTL, {"system": "Be verbose."}, "system: differs from the system message"),
    (KTO, {"label": None}, "label: missing"),
    (KTO, {"label": "spam"}, "label: expected true or false"),
    (KTO, {"messages": [user(QUESTION)]}, "messages: the label is about the last answer"),
    (KTO, {"messages": [answer(NO)]}, "messages: the label is about the last answer"),
    (KTO, {"kto_tag": True}, "label: both kto_tag and label"),
    (KTO_ALPACA, {"kto_tag": 2}, "kto_tag: expected true or false"),
    (CAPYBARA, {"rating_rejected": 6}, "rating_rejected: 6 is above rating_chosen, 5"),
    (CAPYBARA, {"rating_chosen": 9}, "the scores 9 and 2 are not on the scale 1 to 5"),
    (CAPYBARA, {"rating_chosen": "good"}, "rating_chosen: expected a number"),
    (CAPYBARA, {"rejected": CAPYBARA["chosen"]}, "the preferred response is the same"),
    (CAPYBARA, {"chosen": None}, "chosen: missing"),
    (CAPYBARA, {"rating": 1}, "rating: one rating for two answers"),
    (ULTRAFEEDBACK_TEXTS, {"instruction": None}, "prompt: missing"),
    (CHOSEN_RESPONSE, {"rejected_response": YES}, "the preferred response is the same"),
    (ALPACA, {"output": ""}, "output: missing"),
    (ALPACA, {"instruction": None, "input": None}, "prompt: missing"),
    (DOLLY, {"response": None}, "response: missing"),
    (V1, {"messages": V1["messages"][:1]}, "messages: there is no assistant message"),
]


@pytest.mark.parametrize(("row", "changes", "reason"), SPOILED)
def test_a_spoiled_row_is_set_aside_with_its_line_and_the_reason(row, changes, reason, tmp_path):
    good, bad = read(write_rows(tmp_path / "rows.jsonl", row, {**row, **changes}))
    assert isinstance(good, ParsedRow)
    assert isinstance(bad, RejectedRow)
    assert bad.line == 2
    assert bad.reason.startswith(reason)


# ShareGPT


def test_the_last_answer_of_a_conversation_is_a_demonstration(tmp_path):
    case = parse(tmp_path, SHAREGPT, system="Be brief.", tools="[]")
    assert [(item.role, item.text) for item in case.interaction.prompt] == [
        ("system", "Be brief."),
        ("user", "Hello"),
        ("assistant", "Hi."),
        ("user", QUESTION),
    ]
    (demonstration,) = case.of(Demonstration)
    assert demonstration.text == YES
    assert case.interaction.metadata == {"id": "identity_0", "tools": "[]"}


@pytest.mark.parametrize(
    ("question", "reply"),
    [("human", "gpt"), ("user", "assistant"), ("human", "model"), ("user", "chatgpt")],
)
def test_roles_of_sharegpt(question, reply, tmp_path):
    turns = [{"from": question, "value": QUESTION}, {"from": reply, "value": YES}]
    case = parse(tmp_path, {"conversations": turns})
    assert [item.role for item in case.interaction.prompt] == ["user"]
    assert case.of(Demonstration)[0].text == YES


def test_function_calls_and_observations_of_sharegpt(tmp_path):
    call = {"name": "hours", "arguments": {"day": "Sunday"}}
    turns = [
        {"from": "system", "value": "Be brief."},
        human(QUESTION),
        {"from": "function_call", "value": json.dumps(call)},
        {"from": "observation", "value": "9-17"},
        gpt(YES),
    ]
    prompt = parse(tmp_path, {"conversations": turns}).interaction.prompt
    assert [item.role for item in prompt] == ["system", "user", "assistant", "tool"]
    assert prompt[2].tool_calls[0]["function"] == call


def test_sharegpt_with_a_verdict_is_not_a_demonstration(tmp_path):
    path = write_rows(tmp_path / "rows.jsonl", {**SHAREGPT, "rating": 1})
    with pytest.raises(BacktalkError, match="rating"):
        list(read(path))


# Rankings


@pytest.mark.parametrize(
    ("row", "prompt"),
    [
        (RANKING, [("user", QUESTION)]),
        (AXOLOTL, [("system", "Be brief."), ("user", QUESTION)]),
        ({**RANKING, "system": "Be brief."}, [("system", "Be brief."), ("user", QUESTION)]),
        ({**AXOLOTL, "chosen": YES, "rejected": NO}, [("system", "Be brief."), ("user", QUESTION)]),
        ({**RANKING, "chosen": [gpt(YES)], "rejected": [gpt(NO)]}, [("user", QUESTION)]),
        (
            {
                **RANKING,
                "chosen": [human(QUESTION), gpt(YES)],
                "rejected": [human(QUESTION), gpt(NO)],
            },
            [("user", QUESTION)],
        ),
        ({**RANKING, "conversations": [human(QUESTION), gpt(YES)]}, [("user", QUESTION)]),
        (
            {"instruction": "Translate.", "input": "Tag", "chosen": YES, "rejected": NO},
            [("user", "Translate.\nTag")],
        ),
        (
            {
                "instruction": QUESTION,
                "input": "",
                "chosen": YES,
                "rejected": NO,
                "system": "Be brief.",
                "history": [["Hello", "Hi."]],
            },
            [("system", "Be brief."), ("user", "Hello"), ("assistant", "Hi."), ("user", QUESTION)],
        ),
    ],
)
def test_ranking_layouts_of_llama_factory_and_axolotl(row, prompt, tmp_path):
    assert pair_of(parse(tmp_path, row)) == (prompt, YES, NO)


def test_earlier_turns_of_a_ranking_are_the_prompt(tmp_path):
    turns = [human("Hello"), gpt("Hi."), human(QUESTION)]
    prompt, _, _ = pair_of(parse(tmp_path, RANKING, conversations=turns))
    assert [role for role, _ in prompt] == ["user", "assistant", "user"]


@pytest.mark.parametrize("name", ["prompt", "question", "input", "system"])
@pytest.mark.parametrize("messages", [False, True])
def test_preference_types_of_axolotl(name, messages, tmp_path):
    prompt = {name: QUESTION} if name != "system" else {"system": "Be brief.", "prompt": QUESTION}
    row = {**prompt, "chosen": YES, "rejected": NO}
    if messages:
        row |= {"chosen": [user(QUESTION), answer(YES)], "rejected": [user(QUESTION), answer(NO)]}
    expected = [("system", "Be brief.")] if name == "system" else []
    assert pair_of(parse(tmp_path, row)) == ([*expected, ("user", QUESTION)], YES, NO)


@pytest.mark.parametrize(
    "row",
    [
        CHOSEN_RESPONSE,
        {**CHOSEN_RESPONSE, "system": ""},
        {"prompt": QUESTION, "question": QUESTION, "chosen": YES, "rejected": NO},
        {"id": "1", "source": "truthy_dpo", "system": "", "prompt": QUESTION}
        | {"chosen": YES, "rejected": NO},
        {"system": "", "question": QUESTION, "chosen": YES, "rejected": NO},
        {"chosen": [user(QUESTION), answer(YES)], "rejected": [user(QUESTION), answer(NO)]},
        {"chosen": [human(QUESTION), gpt(YES)], "rejected": [human(QUESTION), gpt(NO)]},
    ],
    ids=["argilla", "argilla-system", "orpo-mix", "truthy", "intel", "argilla_chat", "sharegpt"],
)
def test_pairs_by_the_names_of_their_datasets(row, tmp_path):
    assert pair_of(parse(tmp_path, row)) == ([("user", QUESTION)], YES, NO)


def test_stepwise_supervision_of_axolotl(tmp_path):
    row = {"prompt": "Which is larger, 9.8 or 9.11?", "completions": ["0.8 > 0.11.", "So 9.11."]}
    (steps,) = parse(tmp_path, row, labels=[True, False]).of(Steps)
    assert [step.verdict for step in steps.steps] == ["right", "wrong"]


# KTO


@pytest.mark.parametrize(
    ("row", "prompt", "text", "good"),
    [
        (KTO, QUESTION, NO, False),
        (KTO_TAG, QUESTION, NO, False),
        (KTO_ALPACA, "Translate.\nTag", "Day", True),
        (KTO_MIX, QUESTION, NO, False),
        (KTO_ORCA, QUESTION, NO, False),
        ({"instruction": QUESTION, "completion": NO, "label": False}, QUESTION, NO, False),
        ({"question": QUESTION, "completion": NO, "label": 0}, QUESTION, NO, False),
        ({"prompt": QUESTION, "completion": YES, "label": "True"}, QUESTION, YES, True),
        ({**KTO_ALPACA, "kto_tag": 1.0}, "Translate.\nTag", "Day", True),
    ],
)
def test_a_label_is_about_the_last_answer(row, prompt, text, good, tmp_path):
    case = parse(tmp_path, row)
    assert [(item.role, item.text) for item in case.interaction.prompt] == [("user", prompt)]
    assert [item.text for item in case.interaction.responses] == [text]
    (label,) = case.of(Label)
    assert label.good is good
    assert len(case.feedback) == 1


def test_earlier_answers_of_a_labelled_conversation_are_the_prompt(tmp_path):
    turns = [user("Hello"), answer("Hi."), user(QUESTION), answer(NO)]
    case = parse(tmp_path, KTO, messages=turns, system="Be brief.")
    roles = [item.role for item in case.interaction.prompt]
    assert roles == ["system", "user", "assistant", "user"]
    assert case.interaction.responses[0].text == NO


def test_a_labelled_tool_call_keeps_its_message(tmp_path):
    call = {"id": "c", "type": "function", "function": {"name": "hours", "arguments": "{}"}}
    turns = [user(QUESTION), {"role": "assistant", "content": None, "tool_calls": [call]}]
    (response,) = parse(tmp_path, KTO, messages=turns).interaction.responses
    assert response.messages[0].tool_calls == (call,)


def test_a_rating_beside_a_label_belongs_to_the_answer(tmp_path):
    assert parse(tmp_path, KTO_ORCA).interaction.responses[0].metadata == {"rating": 3.0}


def test_a_label_beside_a_prompt_and_messages_is_refused(tmp_path):
    path = write_rows(tmp_path / "rows.jsonl", {**KTO, "prompt": "When?", "completion": YES})
    with pytest.raises(BacktalkError, match="messages"):
        list(read(path))


# Scores


def test_scores_on_a_known_scale_are_the_strength(tmp_path):
    case = parse(tmp_path, CAPYBARA)
    assert pair_of(case) == ([("user", QUESTION)], YES, NO)
    assert [(item.model, item.metadata) for item in case.interaction.responses] == [
        ("capybara", {"score": 5.0}),
        ("mistral-7b", {"score": 2.0}),
    ]
    (preference,) = case.of(Preference)
    assert (preference.strength, preference.annotator.kind) == (0.75, "model")
    assert case.interaction.metadata == {"source": "Airoboros"}


def test_reasons_and_ratings_of_a_judge(tmp_path):
    case = parse(tmp_path, INTEL_DISTILABEL)
    assert pair_of(case) == ([("system", "Be brief."), ("user", QUESTION)], YES, NO)
    assert [item.metadata["score"] for item in case.interaction.responses] == [9.0, 3.0]
    (critique,) = case.of(Critique)
    assert critique.text == INTEL_DISTILABEL["rationale"]
    assert {item.annotator.id for item in case.feedback} == {"gpt-4-1106-preview"}
    assert case.interaction.metadata == {"status": "swapped", "in_gsm8k_train": False}


def test_the_scale_of_other_scores_is_an_option(tmp_path):
    path = write_rows(tmp_path / "rows.jsonl", DPO_MIX)
    (preference,) = read_case(path).of(Preference)
    assert preference.strength is None
    options = {"scale": "1-5"}
    (preference,) = read_case(path, format="scored-preference", options=options).of(Preference)
    assert preference.strength == 1


@pytest.mark.parametrize(
    ("row", "strength"),
    [(ULTRAFEEDBACK_ARGILLA, 0.375), (ULTRAFEEDBACK_TEXTS, 0.3125), (HERMES, None)],
)
def test_names_of_the_score_columns(row, strength, tmp_path):
    case = parse(tmp_path, row)
    prompt, chosen, rejected = pair_of(case)
    assert (prompt[-1], chosen, rejected) == (("user", QUESTION), YES, NO)
    assert case.of(Preference)[0].strength == strength
    assert case.interaction.responses[0].model in {"gpt-4", "original"}


def test_messages_are_the_prompt_of_scored_texts(tmp_path):
    row = {"messages": [user(QUESTION)], "chosen": YES, "rejected": NO}
    case = parse(tmp_path, row, chosen_score=0.5, rejected_score=0.25)
    assert pair_of(case) == ([("user", QUESTION)], YES, NO)


def test_a_system_prompt_of_a_scored_pair_is_its_first_message(tmp_path):
    prompt, _, _ = pair_of(parse(tmp_path, HERMES))
    assert prompt[0] == ("system", "Be brief.")


@pytest.mark.parametrize(
    ("row", "changes"),
    [
        (CAPYBARA, {"rating_rejected": 5}),
        (INTEL_DISTILABEL, {"status": "tie"}),
        (INTEL_DISTILABEL, {"rating": [9.0, 9.0]}),
    ],
)
def test_equal_scores_are_a_tie(row, changes, tmp_path):
    (preference,) = parse(tmp_path, row, **changes).of(Preference)
    assert (preference.verdict, preference.strength) == ("tie", None)


def test_a_pair_that_the_judge_did_not_rate_is_not_the_judges(tmp_path):
    changes = {"rating": None, "chosen_score": None, "rationale": None}
    (preference,) = parse(tmp_path, INTEL_DISTILABEL, **changes).of(Preference)
    assert (preference.verdict, preference.annotator.id) == ("a", "unknown")


# Instructions


@pytest.mark.parametrize(
    ("row", "prompt", "text"),
    [
        (ALPACA, "Translate.\nGuten Tag", "Good day"),
        ({**ALPACA, "input": ""}, "Translate.", "Good day"),
        ({**ALPACA, "input": None, "text": "Below is an instruction."}, "Translate.", "Good day"),
        ({"instruction": QUESTION, "input": "", "response": YES}, QUESTION, YES),
        (DOLLY, "When does it open?\nThe shop opens at nine.", "At nine."),
        ({**DOLLY, "context": ""}, "When does it open?", "At nine."),
    ],
)
def test_the_input_follows_the_instruction(row, prompt, text, tmp_path):
    case = parse(tmp_path, row)
    assert [item.text for item in case.interaction.prompt] == [prompt]
    (demonstration,) = case.of(Demonstration)
    assert demonstration.text == text
    metadata = {"category": "closed_qa"} if "category" in row else {}
    assert case.interaction.metadata == metadata


def test_history_and_system_of_an_instruction(tmp_path):
    case = parse(tmp_path, ALPACA, system="Be brief.", history=[["Hello", "Hi."]])
    roles = [item.role for item in case.interaction.prompt]
    assert roles == ["system", "user", "assistant", "user"]


@pytest.mark.parametrize("column", ["generator", "score", "chosen", "annotator_score"])
def test_an_output_with_a_verdict_or_a_generator_is_not_a_demonstration(column, tmp_path):
    path = write_rows(tmp_path / "rows.jsonl", {**ALPACA, column: "x"})
    with pytest.raises(BacktalkError, match=column):
        list(read(path))


# LLaMA-Factory's version 1


def test_parts_with_values_are_texts(tmp_path):
    case = parse(tmp_path, V1)
    assert [item.text for item in case.interaction.prompt] == [QUESTION]
    assert case.of(Demonstration)[0].text == YES


def test_pairs_of_version_1(tmp_path):
    question, reply = V1["messages"]
    other = {**reply, "content": [{"type": "text", "value": NO}]}
    row = {"chosen_messages": [question, reply], "rejected_messages": [question, other]}
    assert pair_of(parse(tmp_path, row)) == ([("user", QUESTION)], YES, NO)


def test_calls_and_images_of_version_1(tmp_path):
    call = {"type": "tool_call", "value": '{"name": "hours", "arguments": {"day": "Sunday"}}'}
    question = {"type": "image_url", "value": "door.png"}, {"type": "text", "value": QUESTION}
    messages = [
        {"role": "user", "content": list(question)},
        {"role": "assistant", "content": [{"type": "reasoning", "value": "Look."}, call]},
        {"role": "tool", "content": [{"type": "text", "value": "9-17"}]},
        V1["messages"][1],
    ]
    prompt = parse(tmp_path, {"messages": messages, "tools": "[]"}).interaction.prompt
    assert prompt[0].text == QUESTION
    assert prompt[0].content[0] == {"type": "image_url", "image_url": {"url": "door.png"}}
    assert prompt[1].tool_calls[0]["function"]["name"] == "hours"
    assert prompt[1].content == ({"type": "reasoning", "value": "Look."},)
    assert prompt[2].text == "9-17"


# Files


@pytest.mark.parametrize(
    "row", [SHAREGPT, RANKING, AXOLOTL, KTO, KTO_TAG, CAPYBARA, INTEL_DISTILABEL, DPO_MIX, V1]
)
def test_parquet_gives_the_same_records_as_json_lines(row, tmp_path):
    path = tmp_path / "train.parquet"
    pq.write_table(pa.Table.from_pylist([row, row]), path)
    for item in read(path):
        assert item.cases == (parse(tmp_path, row),)


@pytest.mark.parametrize("dump", [json.dumps, repr], ids=["JSON", "Python"])
@pytest.mark.parametrize("row", [SHAREGPT, RANKING, AXOLOTL, KTO, KTO_TAG, DPO_MIX])
def test_messages_in_cells_give_the_same_records(row, dump, tmp_path):
    cells = {
        name: dump(value) if isinstance(value, list | dict) else value
        for name, value in row.items()
    }
    path = tmp_path / "train.csv"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, cells)
        writer.writeheader()
        writer.writerow(cells)
    assert read_case(path) == parse(tmp_path, row)


@pytest.mark.parametrize("row", [KTO_ALPACA, ULTRAFEEDBACK_TEXTS, CHOSEN_RESPONSE, ALPACA, DOLLY])
def test_csv_gives_the_same_records_as_json_lines(row, tmp_path):
    path = tmp_path / "train.csv"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, row)
        writer.writeheader()
        writer.writerow(row)
    assert read_case(path) == parse(tmp_path, row)
