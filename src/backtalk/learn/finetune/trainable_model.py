"""The weights that learn: taken from a policy's model, and given back as another's."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from backtalk.artifacts import Artifacts
from backtalk.errors import BacktalkError, MissingExtra
from backtalk.learn.finetune.config import TrainingConfig
from backtalk.learn.finetune.logprobs import LogProbModel
from backtalk.models import LocalModel, LocalSpec, ModelSpec, load_model
from backtalk.models.local.engine import Engine
from backtalk.models.local.loading import quietly
from backtalk.policy import Policy


@dataclass(frozen=True)
class TrainableModel:
    """A model whose weights learn."""

    model: LocalModel
    """What answers before learning: the reference, unless another is named."""
    engine: Engine
    """Weights that nobody else has."""
    scorer: LogProbModel
    adapted: Any = None
    """The model with its adapter, from peft, where an adapter learns and not the weights."""

    @property
    def window(self) -> int | None:
        """How many tokens it reads at most."""
        return self.engine.context_length

    def save(self, spec: ModelSpec, artifacts: Artifacts) -> LocalSpec:
        """Keep what was learned, in safetensors, and return how to load it.

        An adapter of a model that a policy names by itself is kept apart; else the adapter is
        merged, and all weights are kept.
        """
        if self.adapted is not None and isinstance(spec, LocalSpec):
            adapter = artifacts.make(self._write_adapter)
            return spec.model_copy(update={"adapters": (*spec.adapters, adapter)})
        kept = artifacts.make(self._write_all)
        known = spec if isinstance(spec, LocalSpec) else self.model
        return LocalSpec(
            artifact=kept,
            chat_template=known.chat_template,
            template_options=known.template_options,
        )

    def _write_adapter(self, folder: Path) -> None:
        for config in self.adapted.peft_config.values():
            config.base_model_name_or_path = None
        self.adapted.save_pretrained(folder)
        (folder / "README.md").unlink(missing_ok=True)

    def _write_all(self, folder: Path) -> None:
        model = self.engine.model
        if self.adapted is not None:
            model = self.adapted.merge_and_unload()
        with quietly():
            model.save_pretrained(folder)
            self.engine.tokenizer.save_pretrained(folder)


def load_trainable_model(
    policy: Policy,
    artifacts: Artifacts,
    settings: TrainingConfig,
    *,
    seed: int,
    share: bool | None = None,
) -> TrainableModel:
    """Return the weights of a policy's model, ready to learn.

    Parameters
    ----------
    policy : Policy
        Whose model learns; it has to be one on this machine.
    artifacts : Artifacts
        Where its weights are kept, if they are an artifact.
    settings : TrainingConfig
        Whether all weights learn, or an adapter.
    seed : int
        Of an adapter's first weights.
    share : bool, optional
        As for :class:`~backtalk.learn.finetune.logprobs.LogProbModel`.

    Raises
    ------
    BacktalkError
        If the policy's model has no weights that can be trained here.
    """
    model = load_model(policy.model, artifacts)
    if not isinstance(model, LocalModel):
        raise BacktalkError(
            f"The policy {policy.label} answers with {model.name!r}, whose weights are not here",
            "Train a policy with a local model; what an endpoint serves can be improved in "
            "decoding, prompt or memory",
        )
    engine = model.to_train()
    if settings.adapter == "none":
        return TrainableModel(model, engine, LogProbModel(engine.model, share=share))
    adapted = _with_adapter(engine.model, settings, seed)
    return TrainableModel(
        model, engine, LogProbModel(adapted.get_base_model(), share=share), adapted
    )


def _with_adapter(model: Any, settings: TrainingConfig, seed: int) -> Any:
    try:
        from peft import LoraConfig, get_peft_model  # noqa: PLC0415 - slow, and seldom needed
    except ImportError:
        raise MissingExtra.named("train", "An adapter") from None
    config = LoraConfig(
        r=settings.lora_rank,
        lora_alpha=2 * settings.lora_rank,
        target_modules="all-linear",
        use_dora=settings.adapter == "dora",
        task_type="CAUSAL_LM",
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return get_peft_model(model, config)
