#!/bin/sh
# transformers 5.23.0: RWKV's generate gives other tokens for prompts in a batch than for each alone.
#
# The prompts have the same length, so that nothing is padded, and decoding is greedy. One row at a
# time, generate agrees with forward passes over the whole text, without a state. In a batch of
# three, the tokens of every row differ from the second or third one on: the recurrent state that is
# handed to the next step is wrong as soon as there is more than one row. Nothing warns, and with
# trained weights the answers stay fluent.
#
# Expected: the same tokens for a prompt, whatever is beside it in the batch.
#
# Output seen:
#   one at a time: 24 of 24 tokens as without a state
#   in a batch of 3: 7 of 24 tokens as without a state
#   largest difference of log-probabilities of the first step with a state: 2.93
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --no-compile "torch==2.13.0+cpu" 2> /dev/null || {
    venv/bin/pip install --quiet --no-compile uv
    venv/bin/uv pip install --quiet --python venv/bin/python "torch==2.13.0" --torch-backend cpu
}
venv/bin/pip install --quiet --no-compile "transformers==5.23.0" "numpy==2.4.6" 2> /dev/null
cat > check.py <<'PYTHON'
import torch
from transformers import RwkvConfig, RwkvForCausalLM

torch.manual_seed(0)
model = RwkvForCausalLM(RwkvConfig(
    vocab_size=50, hidden_size=16, attention_hidden_size=16, num_hidden_layers=3, rescale_every=0,
    context_length=64,
)).eval()
with torch.no_grad():
    for parameter in model.parameters():
        if parameter.ndim == 2:
            parameter.normal_(std=1.5 * parameter.shape[-1] ** -0.5)
PROMPTS = torch.tensor([[5, 6, 7, 8], [9, 10, 11, 12], [1, 2, 3, 4]])
NEW = 8


def generate(rows):
    return model.generate(
        rows, attention_mask=torch.ones_like(rows), max_new_tokens=NEW, do_sample=False
    )[:, -NEW:]


with torch.no_grad():
    expected = PROMPTS
    for _ in range(NEW):
        token = model(expected, use_cache=False).logits[:, -1:].argmax(dim=-1)
        expected = torch.cat([expected, token], dim=1)
    expected = expected[:, -NEW:]
    alone = torch.cat([generate(row[None]) for row in PROMPTS])
    batch = generate(PROMPTS)
    whole = model(PROMPTS, use_cache=False).logits[:, -1].log_softmax(dim=-1)
    state = model(PROMPTS[:, :-1], use_cache=True).state
    step = model(PROMPTS[:, -1:], state=state, use_cache=True).logits[:, -1].log_softmax(dim=-1)
right = [int((tokens == expected).sum()) for tokens in (alone, batch)]
difference = float((whole - step).abs().max())
print(f"one at a time: {right[0]} of {expected.numel()} tokens as without a state")
print(f"in a batch of 3: {right[1]} of {expected.numel()} tokens as without a state")
print(f"largest difference of log-probabilities of the first step with a state: {difference:.2f}")
assert right[0] == expected.numel() and right[1] < expected.numel() and difference > 0.1
PYTHON
venv/bin/python check.py 2> errors || { cat errors; exit 1; }
