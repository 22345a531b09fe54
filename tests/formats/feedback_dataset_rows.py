"""Rows of public data sets of ratings and comparisons: published layouts, invented contents."""

RATINGS = {"helpfulness": 3, "correctness": 4, "coherence": 4, "complexity": 2, "verbosity": 1}
CONTEXT = [
    {"role": "user", "content": "Name a colour."},
    {"role": "assistant", "content": "Red."},
    {"role": "user", "content": "Another one."},
]

HELPSTEER = {"prompt": "c#", "response": "C# is a language by Microsoft.", **RATINGS}

HELPSTEER_DISAGREEMENTS = {
    "prompt": "Name a colour.\n<extra_id_1>Assistant\nRed.\n<extra_id_1>User\nAnother one.",
    "response": "Blue.",
    "helpfulness": [3, 3, 4],
    "correctness": [3, 4, 4],
    "coherence": [4, 3, 4],
    "complexity": [2, 2, 2],
    "verbosity": [2, 1, 1],
}

HELPSTEER2_PREFERENCE = {
    "split": "train",
    "prompt": "Define a signal.",
    "response_1": "A wave.",
    "response_2": "A message that is sent through a channel.",
    "preference_strength": 1,
    "preference_statement": "@Response 2 is slightly better than @Response 1.",
    "preference_elaboration": "It names the channel.",
    "three_most_similar_preferences": [
        {"statement": "@Response 2 is better.", "elaboration": "It is complete.", "strength": 2},
        {"statement": "@Response 2 is slightly better.", "elaboration": "", "strength": 1},
    ],
    "all_preferences_unprocessed": [
        {"strength": 2, "justification": "@Response 2 is better. It is complete."},
        {"strength": 1, "justification": "@Response 2 is slightly better."},
        {"strength": -3, "justification": "@Response 1 is much better, as it is short."},
        {"strength": -100, "justification": "Neither is right."},
    ],
}

HELPSTEER3_PREFERENCE = {
    "domain": "general",
    "language": "english",
    "context": CONTEXT,
    "response1": "Blue.",
    "response2": "Red.",
    "overall_preference": -2,
    "individual_preference": [
        {
            "score": -3,
            "reasoning": "@Response 1 is much better, as it is new.",
            "feedback1": "Short and right.",
            "feedback2": "It repeats the colour.",
        },
        {"score": 0, "reasoning": "Both are colours.", "feedback1": None, "feedback2": None},
    ],
}

HELPSTEER3_FEEDBACK = {
    "domain": "general",
    "language": "english",
    "context": CONTEXT,
    "response1": "Blue.",
    "response2": "Red.",
    "feedback1": ["The response is mostly helpful.", "The response is mostly helpful."],
    "feedback2": ["The response is not helpful.", "It repeats the colour."],
}

HELPSTEER3_EDIT = {
    "domain": "general",
    "language": "english",
    "context": CONTEXT,
    "original_response": "Red.",
    "edited_response": "Blue.",
    "feedback": ["It repeats the colour."],
    "change_summary": "Another colour is named.",
}

HELPSTEER3_EDIT_QUALITY = {
    "domain": "general",
    "language": "english",
    "context": CONTEXT,
    "original_response": "Red.",
    "good_edited_response": "Blue.",
    "bad_edited_response": "Red, again.",
    "feedback": ["It repeats the colour."],
}

HELPSTEER3_PRINCIPLE = {
    "domain": "general",
    "language": "english",
    "context": CONTEXT,
    "response": "Blue.",
    "principle": "adherence to length requirements",
    "fulfilment": "Yes",
}

PKU_SAFERLHF = {
    "prompt": "How do I open a lock?",
    "response_0": "Use a drill.",
    "response_1": "Call a locksmith.",
    "prompt_source": "Alpaca3-8B",
    "response_0_source": "Alpaca3-8B",
    "response_1_source": "WizardLM-30B-Uncensored",
    "is_response_0_safe": False,
    "is_response_1_safe": True,
    "response_0_harm_category": {"Economic Crime": True, "Violence": False, "Cybercrime": False},
    "response_1_harm_category": {"Economic Crime": False, "Violence": False, "Cybercrime": False},
    "response_0_severity_level": 2,
    "response_1_severity_level": 0,
    "better_response_id": 0,
    "safer_response_id": 1,
    "response_0_sha256": "5bb2",
    "response_1_sha256": "98b2",
}

PKU_SAFERLHF_10K = {
    "prompt": "How do I open a door?",
    "response_0": "Use the key.",
    "response_1": "Kick it.",
    "is_response_0_safe": True,
    "is_response_1_safe": False,
    "better_response_id": 0,
    "safer_response_id": 0,
}

BEAVERTAILS = {
    "prompt": "How do I open a lock?",
    "response": "Use a drill at night.",
    "category": {"animal_abuse": False, "financial_crime,property_crime,theft": True},
    "is_safe": False,
}

PKU_SAFERLHF_QA = {
    "prompt": "How do I open a lock?",
    "response": "Call a locksmith.",
    "sha256": "98b2",
    "prompt_source": "Alpaca3-8B",
    "response_source": "Alpaca2-7B",
    "is_safe": True,
    "harm_category": {"Economic Crime": False},
    "severity_level": 0,
}

SHP = {
    "post_id": "qt3nxl",
    "domain": "askculinary_train",
    "upvote_ratio": 0.98,
    "history": "How do I keep bread fresh?",
    "c_root_id_A": "hkh25sc",
    "c_root_id_B": "hkh25lp",
    "created_at_utc_A": 1636822112,
    "created_at_utc_B": 1636822110,
    "score_A": 340,
    "score_B": 166,
    "human_ref_A": "Freeze it in slices.",
    "human_ref_B": "Eat it.",
    "labels": 1,
    "seconds_difference": 2.0,
    "score_ratio": 2.0,
}

NECTAR = {
    "prompt": "\n\nHuman: Name a colour.\n\nAssistant: Red.\n\nHuman: Another one.\n\nAssistant: ",
    "answers": [
        {"answer": "Blue.", "model": "gpt-4", "rank": 1.0},
        {"answer": "Red.", "model": "mistral-7b-instruct-v0.1", "rank": 3.0},
        {"answer": "Green.", "model": "gpt-3.5-turbo", "rank": 2.0},
    ],
    "turns": 2,
    "num_responses": 3,
    "source": ["sharegpt"],
    "good_natured": True,
}

WEBGPT = {
    "question": {"dataset": "eli5", "id": "a1", "full_text": "Why is the sky blue?"},
    "quotes_0": {"title": ["Light (example.org)"], "extract": ["Blue is scattered more."]},
    "answer_0": "Blue light is scattered more [1].",
    "tokens_0": {"prefix": [24361, 25], "completion": [14573, 1657]},
    "score_0": 0.75,
    "quotes_1": {"title": [], "extract": []},
    "answer_1": "It mirrors the sea.",
    "tokens_1": {"prefix": [24361, 25], "completion": [1026, 22353]},
    "score_1": -0.75,
}

SUMMARIZE_COMPARISON = {
    "info": {
        "id": "t3_2vwp1w",
        "post": "A car hit mine on Friday. Can I get an investigation?",
        "title": "Car accident, what now?",
        "subreddit": "legaladvice",
        "site": None,
        "article": None,
    },
    "summaries": [
        {"text": " car accident, need help", "policy": "sup4_ppo_rm3_kl10", "note": "Was it fast?"},
        {"text": " how can I get an investigation of a crash?", "policy": "ref", "note": None},
    ],
    "choice": 1,
    "worker": "ikNmucwunMnYJCQpnq6ZYb57OW7NiD",
    "batch": "batch9",
    "split": "train",
    "extra": {"confidence": 8},
}

SUMMARIZE_AXIS = {
    "info": {
        "id": "167f80cc",
        "post": None,
        "title": "A match",
        "subreddit": None,
        "site": "dailymail",
        "article": "The captain was sent off on Monday.",
    },
    "summary": {
        "text": "The captain was sent off.",
        "policy": "sup4",
        "note": "Who played?",
        "axes": {
            "overall": 3,
            "accuracy": 7,
            "coverage": 4,
            "coherence": None,
            "compatible": False,
        },
    },
    "worker": "qo6WIyEh27cwAjWpA3Q60J7NaDxzQJ",
    "batch": "cnndm1",
    "split": "test",
}

RUBRIC = {f"orig_score{score}_description": f"Humour of level {score}." for score in range(1, 6)}

PROMETHEUS_FEEDBACK = {
    "instruction": "###Task Description: An instruction, a response and a rubric are given.",
    "output": "It has no joke. So the overall score is 2. [RESULT] 2",
    "input": "",
    "orig_instruction": "Tell a joke about bread.",
    "orig_response": "Bread is baked.",
    "orig_reference_answer": "I loaf it.",
    "orig_criteria": "Does the response have humour?",
    **RUBRIC,
    "orig_feedback": "It has no joke. So the overall score is 2.",
    "orig_score": "2",
}

PROMETHEUS_PREFERENCE = {
    "instruction": "###Task Description: An instruction, two responses and a rubric are given.",
    "output": "B has a pun. [RESULT] B",
    "input": "",
    "orig_instruction": "Tell a joke about bread.",
    "orig_response_A": "Bread is baked.",
    "orig_response_B": "Bread: I knead it.",
    "orig_score_A": "2",
    "orig_score_B": "4",
    "orig_feedback_A": "It has no joke.",
    "orig_feedback_B": "It has a pun.",
    "orig_feedback": "B has a pun.",
    "orig_preference": "B",
    "orig_reference_answer": "I loaf it.",
    "orig_criteria": "Does the response have humour?",
}

REWARD_BENCH = {
    "prompt": "Name a colour.",
    "chosen": "Blue.",
    "chosen_model": "GPT4-Turbo",
    "rejected": "Seven.",
    "rejected_model": "alpaca-7b",
    "subset": "alpacaeval-easy",
    "id": 0,
}

REWARD_BENCH_2 = {
    "id": "5",
    "prompt": "Name a colour of the rainbow.",
    "chosen": ["Blue.", "Red."],
    "rejected": ["Brown.", "Black."],
    "num_correct": 2,
    "num_incorrect": 2,
    "total_completions": 4,
    "models": ["gpt-4o", "gpt-4o-mini", "tulu-3", "olmo-2"],
    "subset": "Ties",
    "additional_metadata": {"category": None, "index": 1.0, "label": None, "models": None},
}

CODE_ULTRAFEEDBACK = {
    "instruction": "Add two numbers in Python.",
    "preference": "code-readability",
    "models": ["gpt-4", "codellama-7b", "wizardcoder-15b"],
    "responses": [
        {"model": "gpt-4", "response": "def add(x, y):\n    return x + y"},
        {"model": "codellama-7b", "response": "a=lambda x,y:x+y"},
        {"model": "wizardcoder-15b", "response": "1 + 1"},
    ],
    "annotations": [
        {"model": "gpt-4", "rating": "5", "rationale": "Clear names."},
        {"model": "codellama-7b", "rating": "2", "rationale": "Terse."},
        {"model": "wizardcoder-15b", "rating": "N/A", "rationale": ""},
    ],
}

CODE_ULTRAFEEDBACK_BINARIZED = {
    "preference": "complexity",
    "instruction": "Add two numbers in Python.",
    "chosen_rationale": "Short.",
    "chosen": "sum((x, y))",
    "chosen_rating": "4",
    "chosen_model": "gpt-4",
    "rejected_rating": "2",
    "rejected": "x + y + 0",
    "rejected_rationale": "A useless term.",
    "rejected_model": "codellama-7b",
}

FEEDBACK_DATASETS = {
    "helpsteer": [HELPSTEER, HELPSTEER_DISAGREEMENTS],
    "helpsteer2-preference": [HELPSTEER2_PREFERENCE],
    "helpsteer3": [
        HELPSTEER3_PREFERENCE,
        HELPSTEER3_EDIT,
        HELPSTEER3_EDIT_QUALITY,
        HELPSTEER3_PRINCIPLE,
    ],
    "pku-saferlhf": [PKU_SAFERLHF, PKU_SAFERLHF_10K],
    "beavertails": [BEAVERTAILS, PKU_SAFERLHF_QA],
    "shp": [SHP],
    "nectar": [NECTAR],
    "webgpt": [WEBGPT],
    "summarize-from-feedback": [SUMMARIZE_COMPARISON, SUMMARIZE_AXIS],
    "prometheus-feedback": [PROMETHEUS_FEEDBACK],
    "prometheus-preference": [PROMETHEUS_PREFERENCE],
    "reward-bench": [REWARD_BENCH],
    "reward-bench-2": [REWARD_BENCH_2],
    "code-ultrafeedback": [CODE_ULTRAFEEDBACK, CODE_ULTRAFEEDBACK_BINARIZED],
}
"""Distinct rows of each format."""
