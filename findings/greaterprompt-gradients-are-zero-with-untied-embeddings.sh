#!/bin/sh
# greaterprompt 1.1.4: with untied embeddings, the gradient of every candidate token is exactly 0.
#
# GreaterOptimizer chooses a token for a position of the prompt by the gradient of the loss: it
# reads the row of each candidate in the gradient of the input embeddings. A model whose output
# layer has weights of its own (Llama 3 8B, Mistral 7B) gives a row a gradient only if its token
# occurs in the text. Candidates are tokens that do not occur there yet, so that all of them have
# 0, and get_p_i_star returns whichever comes first, without a warning. With tied embeddings (Llama
# 3.2 1B) the rows have gradients, but those of the output layer, not of the prompt. The gradient
# for a one-hot choice of the token at the position tells the candidates apart in both cases.
#
# The package's methods run as they are, on a small random model; its parts that talk to services
# are replaced, as they are not used.
#
# Expected: the choice depends on the candidates' gradients, not on their order.
#
# Output seen:
#   untied: gradients [0.0, 0.0, 0.0, 0.0, 0.0]; chosen 30, in reverse order 34
#   untied, one-hot at the position: 5 different values
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --no-compile "torch==2.13.0+cpu" 2> /dev/null || {
    venv/bin/pip install --quiet --no-compile uv
    venv/bin/uv pip install --quiet --python venv/bin/python "torch==2.13.0" --torch-backend cpu
}
venv/bin/pip install --quiet --no-compile "transformers==4.48.3" "numpy==2.2.6" "pandas==2.2.3"
venv/bin/pip install --quiet --no-compile --no-deps "greaterprompt==1.1.4"
cat > check.py <<'PYTHON'
import importlib.util
import sys
from types import ModuleType, SimpleNamespace
from unittest.mock import MagicMock

import torch
from transformers import LlamaConfig, LlamaForCausalLM

package = ModuleType("greaterprompt")
package.__path__ = list(importlib.util.find_spec("greaterprompt").submodule_search_locations)
sys.modules["greaterprompt"] = package
CORE = "greaterprompt.core"
TEXTGRAD = f"{CORE}.TextGrad.textgrad_ollm"
for name in (
    CORE, f"{CORE}.pe2", f"{CORE}.pe2.cli", f"{CORE}.TextGrad", TEXTGRAD, f"{TEXTGRAD}.textgrad",
    f"{TEXTGRAD}.textgrad.tasks", f"{TEXTGRAD}.textgrad.engine",
    f"{TEXTGRAD}.textgrad.engine.local_model_openai_api", "streamlit",
):
    sys.modules[name] = MagicMock()

from greaterprompt.optimizer import GreaterOptimizer

torch.manual_seed(0)
model = LlamaForCausalLM(LlamaConfig(
    vocab_size=200, hidden_size=32, intermediate_size=64, num_hidden_layers=2,
    num_attention_heads=4, num_key_value_heads=4, tie_word_embeddings=False,
))
optimizer = GreaterOptimizer.__new__(GreaterOptimizer)
optimizer.optimize_config = {"generate_config": {}}
optimizer.client = SimpleNamespace(model=model, get_logits=lambda ids, _: model(ids).logits)
for parameter in model.parameters():
    parameter.requires_grad = False
model.get_input_embeddings().weight.requires_grad = True

CANDIDATES = [30, 31, 32, 33, 34]
question, prompt, answer = (torch.tensor([ids]) for ids in ([1, 5, 6], [7, 8], [20]))
predicted = optimizer.get_y_hat(torch.tensor([[1, 5, 6, 7, 8, 9, 10]]), answer)
gradients, _ = optimizer.get_gradients(question, prompt, answer, predicted)
values = [float(gradients[token].abs().max()) for token in CANDIDATES]
chosen = optimizer.get_p_i_star(gradients, CANDIDATES)
reversed_choice = optimizer.get_p_i_star(gradients, CANDIDATES[::-1])
print(f"untied: gradients {values}; chosen {chosen}, in reverse order {reversed_choice}")

embeddings = model.get_input_embeddings().weight.detach()
one_hot = torch.nn.functional.one_hot(torch.tensor([1, 5, 6, 7, 8, 9, 10]), 200).float()
one_hot.requires_grad = True
logits = model(inputs_embeds=(one_hot @ embeddings)[None]).logits
torch.nn.functional.cross_entropy(logits[0, -1:], answer[0]).backward()
count = len({round(float(one_hot.grad[4, token]), 9) for token in CANDIDATES})
print(f"untied, one-hot at the position: {count} different values")
assert values == [0.0] * 5 and (chosen, reversed_choice) == (30, 34) and count == 5
PYTHON
venv/bin/python check.py 2> errors || { cat errors; exit 1; }
