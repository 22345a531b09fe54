#!/bin/sh
# alpaca_eval 0.6.6: the difficulty of an instruction is found by row number.
#
# get_length_controlled_winrate fits a model with the difficulty of each instruction as a feature.
# The difficulties come from a table that the package downloads from a hub. Annotations are matched
# to the table by their position in the list, not by their instruction. If a model has no output for
# one instruction, its annotations are one row shorter, since alpaca_eval joins the outputs of the
# two models by instruction and leaves the others out, with a warning about the lengths. Every later
# instruction then gets the difficulty of the instruction before it in the table, and the
# length-controlled win rate is computed from those, without an error.
#
# Annotations with a column "index", the number of the instruction in the table, get their own
# difficulties; alpaca_eval adds no such column to annotations.
#
# This script replaces the download by a small table of its own, with made-up difficulties. It
# wraps _get_featurized_data to keep what it returns, and changes nothing else.
#
# Expected: an instruction has the same difficulty whichever other instructions are annotated.
#
# Output seen (instruction -> difficulty used -> difficulty of that instruction):
#   all six annotated
#   I0 -> -3.0 -> -3.0
#   I1 -> -2.0 -> -2.0
#   I2 -> -1.0 -> -1.0
#   I3 -> 1.0 -> 1.0
#   I4 -> 2.0 -> 2.0
#   I5 -> 3.0 -> 3.0
#   I2 not annotated
#   I0 -> -3.0 -> -3.0
#   I1 -> -2.0 -> -2.0
#   I3 -> -1.0 -> 1.0
#   I4 -> 1.0 -> 2.0
#   I5 -> 2.0 -> 3.0
#   I2 not annotated, with a column "index"
#   I0 -> -3.0 -> -3.0
#   I1 -> -2.0 -> -2.0
#   I3 -> 1.0 -> 1.0
#   I4 -> 2.0 -> 2.0
#   I5 -> 3.0 -> 3.0
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
# What the module imports, without the clients of models that alpaca_eval also requires.
venv/bin/pip install --quiet --no-deps --no-compile "alpaca_eval==0.6.6" \
    "anyio==4.16.0" "cloudpickle==3.1.3" "datasets==5.2.0" "dill==0.4.1" "filelock==4.3.1" \
    "fire==0.7.1" "fsspec==2026.9.0" "h11==0.16.0" "httpcore2==2.16.2" "httpx2==2.16.2" \
    "huggingface_hub==2.4.0" "idna==3.20" "joblib==1.6.0" "multiprocess==0.70.19" \
    "narwhals==2.29.0" "numpy==2.4.6" "packaging==26.4" "pandas==3.1.1" "patsy==1.0.3" \
    "pyarrow==26.0.1" "python-dateutil==4.0.0" "python-dotenv==1.2.4" "PyYAML==6.0.4" \
    "scikit-learn==1.9.1" "scipy==1.17.1" "setuptools==79.0.1" "termcolor==3.3.0" \
    "threadpoolctl==3.8.0" "tqdm==4.70.1" "truststore==0.10.5" "typing_extensions==4.16.0" \
    "xxhash==4.1.0"
cat > check.py <<'PYTHON'
import pandas as pd
from alpaca_eval.metrics import glm_winrate

DIFFICULTIES = {"I0": -3.0, "I1": -2.0, "I2": -1.0, "I3": 1.0, "I4": 2.0, "I5": 3.0}
rows = []
for model, length, preference in [("concise", -1.0, 0.4), ("verbose", 1.0, 0.6)]:
    for index, difficulty in enumerate(DIFFICULTIES.values()):
        row = {"model": model, "index": index, "preference": preference}
        row |= {"std_delta_len": length, "instruction_difficulty": difficulty}
        rows.append(row | {"not_gamed_baseline": False})
pd.DataFrame(rows).to_csv("df_gamed.csv", index=False)


def give_table(filename, **options):
    assert filename == "df_gamed.csv", filename
    return filename


featurize = glm_winrate._get_featurized_data
features = []


def featurize_and_keep(*arguments, **options):
    result = featurize(*arguments, **options)
    features.append(result[1])
    return result


glm_winrate.hf_hub_download = give_table
glm_winrate._get_featurized_data = featurize_and_keep
ANNOTATIONS = [
    {
        "instruction": instruction,
        "output_1": "a" * (10 + number),
        "generator_1": "reference",
        "output_2": "b" * (8 + 3 * number),
        "generator_2": "model",
        "annotator": "judge",
        "preference": 1.0 + number % 2,
    }
    for number, instruction in enumerate(DIFFICULTIES)
]


def used(title, annotations):
    glm_winrate.get_length_controlled_winrate(
        annotations, save_weights_dir=None, is_warn_extreme_changes=False
    )
    names = [annotation["instruction"] for annotation in annotations]
    pairs = dict(zip(names, features[-1]["instruction_difficulty"].tolist(), strict=True))
    print(title)
    for instruction, difficulty in pairs.items():
        print(f"{instruction} -> {difficulty} -> {DIFFICULTIES[instruction]}")
    return pairs


shorter = [annotation for annotation in ANNOTATIONS if annotation["instruction"] != "I2"]
numbered = [row | {"index": list(DIFFICULTIES).index(row["instruction"])} for row in shorter]
own = {name: value for name, value in DIFFICULTIES.items() if name != "I2"}
complete = used("all six annotated", ANNOTATIONS)
shifted = used("I2 not annotated", shorter)
matched = used('I2 not annotated, with a column "index"', numbered)
assert complete == DIFFICULTIES, complete
assert shifted == {"I0": -3.0, "I1": -2.0, "I3": -1.0, "I4": 1.0, "I5": 2.0}, shifted
assert matched == own, matched
PYTHON
venv/bin/python -W ignore::FutureWarning check.py
