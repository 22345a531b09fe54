"""Model with trainable weights: loaded from a policy, saved as the model of another policy."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from backtalk.artifacts import Artifacts
from backtalk.errors import BacktalkError
from backtalk.learn.finetune.adapters import AdaptedWeights, add_adapter
from backtalk.learn.finetune.config import TrainingConfig
from backtalk.learn.finetune.logprobs import LogProbModel
from backtalk.learn.finetune.lora_linear import fuse_lora_layers
from backtalk.models import LocalModel, LocalSpec, ModelSpec, load_model
from backtalk.models.local.chat_template import ChatTemplate
from backtalk.models.local.engine import Engine
from backtalk.models.local.loading import hide_progress_bars
from backtalk.policy import Policy


@dataclass(frozen=True)
class TrainableModel:
    """Model with weights of its own that the trainer changes."""

    source: LocalModel
    """Model that the weights were loaded from. Its own copy of them is not loaded."""
    engine: Engine
    """Engine with a private copy of the weights."""
    chat: ChatTemplate
    """Chat template and tokenizer."""
    identity: str
    """Content hash of the weights before training, and of the template."""
    logprob_model: LogProbModel
    """The weights of the engine, as the trainer uses them."""
    peft_model: Any = None
    """Model with its adapter, of peft; ``None`` if all weights are trained."""
    adapted: AdaptedWeights | None = None
    """Weights that the adapter changes; ``None`` if all weights are trained."""

    @property
    def context_length(self) -> int | None:
        """Maximum number of tokens of the context window, ``None`` if there is no limit."""
        return self.engine.context_length

    def round_frozen_weights(self, spec: ModelSpec, config: TrainingConfig) -> None:
        """Keep the weights below an adapter in the number format in which they are multiplied.

        A product in bfloat16 rounds its weights each time. Rounded once, they give the same
        product and take half of the memory. Only the linear layers that the adapter changes are
        rounded, and only if the adapter is saved by itself, as it is for a local model. DoRA also
        reads the norms of the weights, which are exact.

        Parameters
        ----------
        spec : ModelSpec
            Model of the policy before training.
        config : TrainingConfig
            Training configuration, with the number format.
        """
        rounds = config.adapter == "lora" and config.dtype == "bfloat16"
        if self.peft_model is None or not rounds or not isinstance(spec, LocalSpec):
            return
        for module in self.peft_model.modules():
            layer = getattr(module, "base_layer", None)
            if type(layer) is nn.Linear and not layer.weight.requires_grad:
                layer.weight.data = layer.weight.data.to(torch.bfloat16)

    def save(self, spec: ModelSpec, artifacts: Artifacts) -> LocalSpec:
        """Save the trained weights in safetensors format, and return the spec that loads them.

        An adapter of a local model is saved by itself; in all other cases the adapter is merged and
        all weights are saved.

        Parameters
        ----------
        spec : ModelSpec
            Model of the policy before training.
        artifacts : Artifacts
            Store of the weights.
        """
        if self.peft_model is not None and isinstance(spec, LocalSpec):
            adapter = artifacts.make(self._write_adapter)
            return spec.model_copy(update={"adapters": (*spec.adapters, adapter)})
        weights = artifacts.make(self._write_weights)
        source = spec if isinstance(spec, LocalSpec) else self.source
        return LocalSpec(
            artifact=weights,
            chat_template=source.chat_template,
            template_options=source.template_options,
        )

    def _write_adapter(self, folder: Path) -> None:
        for config in self.peft_model.peft_config.values():
            config.base_model_name_or_path = None
            # A set, whose order would differ between processes, and with it the policy's id.
            config.target_modules = sorted(config.target_modules)
        self.peft_model.save_pretrained(folder)
        (folder / "README.md").unlink(missing_ok=True)

    def _write_weights(self, folder: Path) -> None:
        model = self.engine.model
        if self.peft_model is not None:
            # A copy, as the training may go on after a checkpoint.
            model = copy.deepcopy(self.peft_model).merge_and_unload()
        with hide_progress_bars():
            model.save_pretrained(folder)
            self.engine.tokenizer.save_pretrained(folder)


def check_trainable(policy: Policy, artifacts: Artifacts) -> LocalModel:
    """Return the model of a policy, before its weights are loaded.

    Raises
    ------
    BacktalkError
        If the policy's model has no local weights.
    """
    model = load_model(policy.model, artifacts)
    if not isinstance(model, LocalModel):
        raise BacktalkError(
            f"The policy {policy.label} answers with {model.name!r}, whose weights are not local",
            "Train a policy with a local model; for an endpoint, use a method that changes "
            "decoding, prompt or memory",
        )
    return model


def load_trainable_model(
    policy: Policy,
    artifacts: Artifacts,
    config: TrainingConfig,
    *,
    seed: int,
    share: bool | None = None,
) -> TrainableModel:
    """Return the model of a policy with trainable weights.

    Parameters
    ----------
    policy : Policy
        Policy with a local model.
    artifacts : Artifacts
        Store of the weights, if they are an artifact.
    config : TrainingConfig
        Training configuration, which selects the adapter.
    seed : int
        Seed of the initial weights of an adapter.
    share : bool, optional
        See :class:`~backtalk.learn.finetune.logprobs.LogProbModel`.

    Raises
    ------
    BacktalkError
        If the policy's model has no local weights.
    """
    model = check_trainable(policy, artifacts)
    engine = model.load_trainable_engine()
    network, peft_model, adapted = engine.model, None, None
    if config.adapter != "none":
        peft_model, adapted = add_adapter(engine.model, config, seed)
        fuse_lora_layers(peft_model)
        network = peft_model.get_base_model()
    return TrainableModel(
        source=model,
        engine=engine,
        chat=model.chat_with(engine),
        identity=model.identity_with(engine),
        logprob_model=LogProbModel(network, share=share),
        peft_model=peft_model,
        adapted=adapted,
    )
