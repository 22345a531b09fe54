#!/bin/sh
# transformers 5.23.0: a forward pass of RWKV in evaluation mode divides weights, and they are saved so.
#
# RWKV divides the output matrices of later blocks by powers of two at inference and multiplies them
# back when the model is next run in training mode. The division is done in the parameters
# themselves, at the first forward pass after eval(). save_pretrained after an evaluation, the usual
# order of a training script, therefore writes divided weights; loaded again, they are divided once
# more. Nothing warns, and copies of state_dict() or sums over parameters differ in the same way.
#
# Expected: a forward pass without gradients leaves the parameters as they are, and a model that is
# saved and loaded gives the same log-probabilities.
#
# Output seen:
#   changed by a forward pass: 4 of 78 parameters, by a factor of 0.5
#   largest difference of log-probabilities after saving and loading: 0.69
#   the same, saved in training mode after one more forward pass: 0.00
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --no-compile "torch==2.13.0+cpu" 2> /dev/null || {
    venv/bin/pip install --quiet --no-compile uv
    venv/bin/uv pip install --quiet --python venv/bin/python "torch==2.13.0" --torch-backend cpu
}
venv/bin/pip install --quiet --no-compile "transformers==5.23.0" "numpy==2.4.6"
cat > check.py <<'PYTHON'
import torch
from transformers import RwkvConfig, RwkvForCausalLM

torch.manual_seed(0)
IDS = torch.arange(10)[None]


def logprobs(model):
    with torch.no_grad():
        return model(IDS).logits.log_softmax(-1)


def difference_after_saving(model):
    expected = logprobs(model.eval()) if not model.training else None
    model.save_pretrained("saved")
    loaded = RwkvForCausalLM.from_pretrained("saved").eval()
    expected = logprobs(model.eval()) if expected is None else expected
    return float((logprobs(loaded) - expected).abs().max())


model = RwkvForCausalLM(RwkvConfig(
    vocab_size=50, hidden_size=16, attention_hidden_size=16, num_hidden_layers=4, rescale_every=2,
    context_length=64,
)).eval()
before = {name: value.detach().clone() for name, value in model.named_parameters()}
logprobs(model)
changed = [name for name, value in model.named_parameters() if not torch.equal(value, before[name])]
factors = {
    round(float(model.get_parameter(name).abs().max() / before[name].abs().max()), 6)
    for name in changed
}
print(
    f"changed by a forward pass: {len(changed)} of {len(before)} parameters, "
    f"by a factor of {', '.join(map(str, sorted(factors)))}"
)
evaluated = difference_after_saving(model)
print(f"largest difference of log-probabilities after saving and loading: {evaluated:.2f}")
logprobs(model.train())
restored = difference_after_saving(model)
print(f"the same, saved in training mode after one more forward pass: {restored:.2f}")
assert len(changed) == 4 and factors == {0.5} and evaluated > 0.1 and restored < 1e-5
PYTHON
venv/bin/python check.py 2> errors || { cat errors; exit 1; }
