"""Properties of decoders."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from pydantic import TypeAdapter

from backtalk.decode import Decoder, DecoderBase
from backtalk.feedback import as_prompt
from backtalk.feedback.interaction import Prompt
from backtalk.models import FunctionModel, Model
from backtalk.models.run_sync import run_sync
from backtalk.rewards import Reward


def check_decoder(
    decoder: DecoderBase,
    make: Callable[[], Model],
    prompts: Sequence[Prompt],
    *,
    rewards: Mapping[str, Reward] | None = None,
) -> None:
    """Check JSON, order, determinism, and the selection among candidates.

    Parameters
    ----------
    decoder : DecoderBase
        Decoder to check, of a registered kind.
    make : Callable[[], Model]
        Makes the model.
    prompts : sequence of Prompt
        Distinct prompts.
    rewards : Mapping[str, Reward], optional
        Rewards by artifact id, at least those in ``rewards_needed``.
    """
    rewards = rewards or {}
    adapter: TypeAdapter[DecoderBase] = TypeAdapter(Decoder)
    assert adapter.validate_python(decoder.to_dict()) == decoder
    assert adapter.validate_json(decoder.to_json()) == decoder
    assert set(decoder.rewards_needed) <= set(rewards)

    outputs = run_sync(decoder.decode(make(), prompts, rewards=rewards, seed=1))
    repeated = run_sync(decoder.decode(make(), prompts, rewards=rewards, seed=1))
    assert len(outputs) == len(prompts)
    assert [output.answer.text for output in outputs] == [o.answer.text for o in repeated]
    for prompt, output in zip(prompts, outputs, strict=True):
        assert 0 <= output.chosen < len(output.candidates)
        assert output.scores is None or output.scores.shape == (len(output.candidates),)
        assert not decoder.is_single_sample or len(output.candidates) == 1
        if decoder.can_select:
            texts = [candidate.text for candidate in output.candidates]
            index = run_sync(decoder.select(prompt, texts, rewards=rewards))
            assert 0 <= index < len(texts)
    assert run_sync(decoder.decode(make(), [], rewards=rewards)) == []


class DecoderLaws:
    """Tests of a decoder: subclass it in a test module and implement :meth:`decoder`.

    A subclass overrides :meth:`rewards` if the decoder needs any, and :meth:`model` if it needs
    more than texts.
    """

    prompts: Sequence[Prompt] = (as_prompt("Is it open?"), as_prompt("Why?"))

    def decoder(self) -> DecoderBase:
        """Return the decoder, of a registered kind."""
        raise NotImplementedError

    def rewards(self) -> dict[str, Reward]:
        """Return the rewards that the decoder needs, by artifact id."""
        return {}

    def model(self) -> Model:
        """Return a model whose completions differ between samples."""
        return FunctionModel(lambda request: f"answer {request.draw_seed}", name="seeds")

    def test_laws_of_decoders(self) -> None:
        """Check the decoder."""
        check_decoder(self.decoder(), self.model, self.prompts, rewards=self.rewards())
