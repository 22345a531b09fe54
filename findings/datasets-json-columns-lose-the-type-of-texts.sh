#!/bin/sh
# datasets 5.2.0: a text that is JSON by itself does not survive a column of mixed types.
#
# JSON lines in which one message has its content as a list of parts, and the others as text, load
# with the feature Json(): each value is stored as JSON text (in Parquet, extension type
# arrow.json). A text such as "Open?" is stored with quotes. A text that happens to be JSON, such as
# "12", "true", "null" or "\"quoted\"", is stored as it is: no reader can tell it from the number,
# the boolean, null, or the text without quotes, and datasets itself gives back 12, True, None and
# quoted. A user's message "12" becomes a number, "null" disappears.
#
# Expected: every text gets quotes, so that the rows read are the rows written.
#
# Output seen (content written -> stored -> read by datasets):
#   'Open?' -> '"Open?"' -> 'Open?'
#   '12' -> '12' -> 12
#   'true' -> 'true' -> True
#   'null' -> 'null' -> None
#   '"quoted"' -> '"quoted"' -> 'quoted'
#   '{"a": 1}' -> '{"a": 1}' -> {'a': 1}
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet "datasets==5.2.0" "pyarrow==26.0.1"
cat > check.py <<'PYTHON'
import json

import datasets
import pyarrow.parquet as pq

datasets.disable_progress_bars()
TEXTS = ["Open?", "12", "true", "null", '"quoted"', '{"a": 1}']
PARTS = [{"type": "text", "text": "Open?"}]
with open("rows.jsonl", "w") as file:
    for content in [*TEXTS, PARTS]:
        file.write(json.dumps({"prompt": [{"role": "user", "content": content}]}) + "\n")
rows = datasets.load_dataset("json", data_files="rows.jsonl", split="train", cache_dir="cache")
rows.to_parquet("rows.parquet")
stored = [row["prompt"][0]["content"] for row in pq.read_table("rows.parquet").to_pylist()]
read = [prompt[0]["content"] for prompt in rows["prompt"]]
for text, cell, value in zip(TEXTS, stored, read, strict=False):
    print(f"{text!r} -> {cell!r} -> {value!r}")
assert stored[:6] == ['"Open?"', "12", "true", "null", '"quoted"', '{"a": 1}'], stored
assert read[:6] == ["Open?", 12, True, None, "quoted", {"a": 1}], read
assert read[6] == PARTS, read
PYTHON
venv/bin/python check.py
