"""Notes of an export: the parts of a policy that model files do not hold, and a README."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from backtalk.policy.policy import Policy
from backtalk.policy.prompt_template import PromptTemplate

_USE = {
    "merged": """\
```python
from transformers import AutoModelForCausalLM, AutoTokenizer

model = AutoModelForCausalLM.from_pretrained("FOLDER")
tokenizer = AutoTokenizer.from_pretrained("FOLDER")
```

```sh
vllm serve FOLDER --served-model-name NAME
```
""",
    "adapter": """\
```python
from peft import PeftModel
from transformers import AutoModelForCausalLM

base = AutoModelForCausalLM.from_pretrained("BASE")
model = PeftModel.from_pretrained(base, "FOLDER")
```

```sh
vllm serve BASE --enable-lora --lora-modules NAME=FOLDER
```
""",
    "gguf": """\
```sh
llama-server --model FOLDER/NAME.gguf
```
""",
}


def policy_notes(policy: Policy) -> tuple[str, ...]:
    """Return a sentence for each part of a policy that the weights and the tokenizer do not hold.

    >>> from backtalk.models.spec import LocalSpec
    >>> policy_notes(Policy(model=LocalSpec(model="models/tuned"), system="Be brief."))[0]
    'The system prompt is not in the model. Send it with each request: "Be brief."'
    """
    notes = []
    if policy.system is not None:
        text = json.dumps(policy.system, ensure_ascii=False)
        notes.append(f"The system prompt is not in the model. Send it with each request: {text}")
    notes += _template_notes(policy.prompt)
    if policy.compositions is not None:
        notes.append(
            f"The {len(policy.compositions.choices)} compositions of the prompt are not in the "
            "model. `backtalk serve` selects one for each request"
        )
    if policy.memory is not None:
        notes.append(
            f"The memory {policy.memory.name} is not in the model. `backtalk serve` answers with "
            "its entries"
        )
    decoder = policy.decoder
    if not decoder.is_single_sample:
        notes.append(
            f"The decoder {decoder.kind} is not in the model, which answers with a single sample. "
            "`backtalk serve` answers with the whole policy"
        )
    sampling = decoder.base_sampling
    parts = [f"temperature {sampling.local_temperature:g}", f"top_p {sampling.local_top_p:g}"]
    parts.append(f"max_tokens {sampling.local_max_tokens}")
    if sampling.stop:
        parts.append(f"stop {json.dumps(list(sampling.stop), ensure_ascii=False)}")
    notes.append(f"The policy samples with {', '.join(parts)}")
    return tuple(notes)


def _template_notes(template: PromptTemplate | None) -> list[str]:
    """Return a sentence for each slot of a template that is in use."""
    if template is None:
        return []
    notes = []
    if template.rules:
        text = json.dumps("\n".join(template.rules), ensure_ascii=False)
        notes.append(f"The rules are not in the model. Append them to the system prompt: {text}")
    if count := len(template.demonstrations):
        examples = f"{count} demonstration{'s' if count > 1 else ''}"
        notes.append(
            f"{examples} of the prompt are not in the model. Send them before each request, as "
            "`prompt` of policy.yaml has them"
        )
    if template.tools:
        names = ", ".join(template.tools)
        notes.append(
            f"The descriptions of the tools {names} are not in the model. Send those of "
            "policy.yaml with each request"
        )
    return notes


def readme(policy: Policy, form: str, folder: Path, notes: Sequence[str]) -> str:
    """Return the README of an exported folder, in Markdown.

    Parameters
    ----------
    policy : Policy
        Exported policy.
    form : str
        Form of the export.
    folder : Path
        Exported folder.
    notes : sequence of str
        Notes for the user.
    """
    lineage = policy.lineage
    method = f", made by the method {lineage.method}" if lineage.method != "written" else ""
    use = _USE[form].replace("NAME", policy.label)
    config = folder / "adapter_config.json"
    if config.is_file():
        base = json.loads(config.read_text(encoding="utf-8"))["base_model_name_or_path"]
        use = use.replace("BASE", base)
    lines = "\n".join(f"- {note}." for note in notes)
    return (
        f"# {policy.label}\n\nModel of the policy {policy.label} ({policy.id}){method}. "
        "`policy.yaml` is the whole policy, with its lineage.\n\n"
        f"## Use\n\nFOLDER is this folder.\n\n{use}\n## What to set\n\n{lines}\n"
    )
