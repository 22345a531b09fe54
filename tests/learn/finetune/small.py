"""Small models and random trees for the tests of training."""

import numpy as np
import torch
from transformers import AutoModelForCausalLM, MambaConfig

from backtalk.learn.finetune import PairLabel, PromptTree, ResponseTokens
from tests.models.tiny import network

VOCABULARY = 384


def model(architecture="llama"):
    """Return a network with random weights."""
    if architecture == "mamba":
        torch.manual_seed(0)
        made = AutoModelForCausalLM.from_config(
            MambaConfig(
                vocab_size=VOCABULARY, hidden_size=32, num_hidden_layers=2, state_size=8,
                eos_token_id=1, pad_token_id=0, bos_token_id=None,
            )
        )  # fmt: skip
        return made.eval()
    return network(architecture)


def tokens(rng, max_length):
    return tuple(rng.integers(2, VOCABULARY, rng.integers(1, max_length + 1)).tolist())


def trees(count, *, seed=0, responses=2, paired=True):
    """Return trees with responses of random tokens, the first better than each other one."""
    rng = np.random.default_rng(seed)
    return [
        PromptTree(
            tokens(rng, 12),
            tuple(ResponseTokens((*tokens(rng, 9), 1)) for _ in range(responses)),
            pairs=tuple(PairLabel(0, i) for i in range(1, responses)) if paired else (),
        )
        for _ in range(count)
    ]
