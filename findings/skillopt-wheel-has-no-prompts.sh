#!/bin/sh
# skillopt 0.2.0: the package on PyPI has none of the prompt files that its training loop reads.
#
# load_prompt() reads skillopt/prompts/NAME.md. The wheel and the source distribution hold no such
# file. Every step of ReflACTTrainer merges the patches of the step with merge_patches(), which
# reads three of these files before it looks at the patches, so that training ends at its first
# patch, even if there is only one and nothing has to be merged. The answers of the first
# evaluation and of the first batch have been paid for by then.
#
# Expected: one patch is merged into itself.
#
# Output seen:
#   prompt files in the package: 0
#   merge of one patch: FileNotFoundError: Prompt 'merge_failure' not found.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --no-compile "skillopt==0.2.0"
cat > check.py <<'PYTHON'
from pathlib import Path

import skillopt
from skillopt.gradient.aggregate import merge_patches

files = list(Path(skillopt.__file__).parent.rglob("*.md"))
print("prompt files in the package:", len(files))
patch = {"patch": {"edits": [{"op": "append", "content": "Use metric units."}]}}
try:
    merged = merge_patches("Answer the question.", [patch], [], verbose=False)
except FileNotFoundError as error:
    print(f"merge of one patch: FileNotFoundError: {str(error).split(' Searched')[0]}")
else:
    raise SystemExit(f"The patch was merged: {merged}")
assert not files, files
PYTHON
venv/bin/python check.py
