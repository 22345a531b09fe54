"""Options: validation, conversion, and the names of earlier versions."""

from typing import Annotated, Any

import pytest
from pydantic import Field

from backtalk.errors import BacktalkError, UnknownName
from backtalk.learn import METHODS, get_method
from backtalk.learn.options import OPTION_ALIASES, parameter_descriptions, read_options

DEFAULTS = {"batch_size": 32, "lr_scheduler": "cosine"}
TYPES: dict[str, Any] = {"batch_size": Annotated[int, Field(gt=0)], "lr_scheduler": str}


def test_strings_are_converted_and_defaults_filled_in():
    assert read_options("m", DEFAULTS, TYPES, {"batch_size": "8"}) == {
        "batch_size": 8,
        "lr_scheduler": "cosine",
    }
    with pytest.raises(BacktalkError, match="batch_size"):
        read_options("m", DEFAULTS, TYPES, {"batch_size": "0"})
    with pytest.raises(UnknownName, match="Did you mean 'batch_size'"):
        read_options("m", DEFAULTS, TYPES, {"batch_sizes": 8})


def test_an_old_name_is_accepted_with_a_warning():
    with pytest.warns(DeprecationWarning, match="batch is called batch_size now"):
        assert read_options("m", DEFAULTS, TYPES, {"batch": "8"})["batch_size"] == 8


def test_an_option_under_both_names_is_an_error():
    with pytest.raises(BacktalkError, match="given twice"):
        read_options("m", DEFAULTS, TYPES, {"batch": 8, "batch_size": 8})


def test_an_old_name_means_the_new_one_that_the_function_has():
    rate: dict[str, Any] = {"flip_rate": float}
    with pytest.warns(DeprecationWarning, match="flip_rate now"):
        assert read_options("m", {"flip_rate": 0.1}, rate, {"flip": 0.3}) == {"flip_rate": 0.3}
    smoothing: dict[str, Any] = {"label_smoothing": float}
    with pytest.warns(DeprecationWarning, match="label_smoothing now"):
        assert read_options("m", {"label_smoothing": 0.1}, smoothing, {"flip": 0.3}) == {
            "label_smoothing": 0.3
        }


def test_a_present_name_is_never_taken_for_an_old_one():
    types: dict[str, Any] = {"rank": int, "lora_rank": int}
    values = read_options("m", {"rank": 1, "lora_rank": 2}, types, {"rank": 5})
    assert values == {"rank": 5, "lora_rank": 2}


def test_an_old_name_without_a_present_one_is_unknown():
    with pytest.raises(UnknownName, match="rank"):
        read_options("m", DEFAULTS, TYPES, {"rank": 8})


@pytest.mark.parametrize(
    "old",
    ["batch", "clip", "warm_up", "schedule", "checkpointing", "rank", "precision", "save_every"],
)
def test_methods_that_train_accept_every_old_name(old):
    method = get_method("dpo")
    (new,) = OPTION_ALIASES[old]
    with pytest.warns(DeprecationWarning, match=f"{old} is called {new} now"):
        read = method.read_options({old: method.options[new]})
    assert read[new] == method.options[new]


def test_parameter_descriptions_include_names_that_share_a_line():
    def function(a: int, *, b: int, c: int) -> None:
        """Do nothing.

        Parameters
        ----------
        a : int
            A number.
        b, c : int
            Two further
            numbers.

        Raises
        ------
        ValueError
            Never.
        """

    assert parameter_descriptions(function) == {
        "a": "A number.",
        "b": "Two further numbers.",
        "c": "Two further numbers.",
    }


@pytest.mark.parametrize("old", sorted(OPTION_ALIASES))
def test_every_old_name_means_an_option_of_some_method(old):
    known = {option for method in METHODS.values() for option in method.options}
    assert set(OPTION_ALIASES[old]) <= known


@pytest.mark.parametrize(
    ("method", "options", "words"),
    [
        ("dpo", {"lora_rank": "4"}, "lora_rank of dpo has no effect with adapter=none"),
        ("sft", {"rank": 8}, "lora_rank of sft has no effect"),
        ("raft", {"judge": "true-utility", "embedder": "sentence"}, "Set judge=learned"),
    ],
)
def test_an_option_without_an_effect_is_refused(method, options, words):
    with pytest.raises(BacktalkError, match=words):
        get_method(method).read_options(options)


def test_an_option_with_an_effect_is_accepted():
    values = get_method("dpo").read_options({"lora_rank": 4, "adapter": "lora"})
    assert (values["lora_rank"], values["adapter"]) == (4, "lora")
    for method in METHODS.values():
        settings = {name: value for name, value in method.options.items() if value is not None}
        assert method.read_options(method.read_options(settings))
