"""Registry of embedders by name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar, Protocol, Self, TypeVar

from pydantic import AfterValidator

from backtalk.errors import UnknownName
from backtalk.feedback import prompt_text
from backtalk.feedback.views import Pair
from backtalk.models.protocol import Embedder
from backtalk.registry import Registry

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

DIMENSION = 1024
"""Default length of the vectors of an embedder whose dimension can be chosen."""

REWARD_DIMENSION = 128
"""Length of the vectors of a learned reward's embedder, if its dimension can be chosen."""


class RegisteredEmbedder(Protocol):
    """Interface of an embedder class that can be registered.

    Its instances are embedders that can be stored as files.
    """

    kind: ClassVar[str]
    """Name of the class in the registry and in ``embedder.json``."""

    @property
    def identity(self) -> str:
        """Everything that determines the vectors."""
        ...

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        ...

    async def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return the vectors, shape ``(len(texts), dimension)``."""
        ...

    @classmethod
    def fit(cls, texts: Sequence[str], *, dimension: int = DIMENSION) -> Self:
        """Return an embedder for these texts.

        Parameters
        ----------
        texts : sequence of str
            Texts that are representative of those to embed.
        dimension : int, default 1024
            Length of a vector, if it can be chosen.
        """
        ...

    def to_files(self) -> dict[str, bytes]:
        """Return the embedder as files, with its ``kind`` in ``embedder.json``."""
        ...

    @classmethod
    def from_files(cls, files: Mapping[str, bytes]) -> Self:
        """Return the embedder that :meth:`to_files` wrote."""
        ...


EmbedderClass = TypeVar("EmbedderClass", bound=type[RegisteredEmbedder])

EMBEDDERS: Registry[type[RegisteredEmbedder]] = Registry(
    "embedder",
    entry_points="backtalk.embedders",
    modules=("backtalk.embedders.hashed_tfidf", "backtalk.embedders.sentence"),
    item_type=type,
)
"""Classes of embedders by ``kind``: built-in ones and those of installed packages."""


def register_embedder(kind: str) -> Callable[[EmbedderClass], EmbedderClass]:
    """Register a class of embedders under its ``kind``.

    An installed package declares an entry point instead, in its ``pyproject.toml``, so that it need
    not be imported first::

        [project.entry-points."backtalk.embedders"]
        letters = "my_package.embedders:LetterCounts"

    Raises
    ------
    Conflict
        If another embedder has the name.
    """

    def register(cls: EmbedderClass) -> EmbedderClass:
        EMBEDDERS.register(kind, cls)
        return cls

    return register


def _check_name(name: str) -> str:
    if name not in EMBEDDERS:
        raise ValueError(str(UnknownName.among("embedder", name, EMBEDDERS.names())))
    return name


EmbedderName = Annotated[str, AfterValidator(_check_name)]
"""Name of a registered embedder: ``"hashed"``, hashed TF-IDF, which needs no model, or
``"sentence"``, a sentence embedding model, which needs ``backtalk[embed]``, or one of an installed
package."""


def get_embedder(
    name: EmbedderName, texts: Iterable[str] = (), *, dimension: int = DIMENSION
) -> Embedder:
    """Return the embedder of that name, fitted to texts.

    Parameters
    ----------
    name : EmbedderName
        Name of the embedder.
    texts : iterable of str, default ()
        Texts that are representative of those to embed.
    dimension : int, default 1024
        Length of a vector, if it can be chosen.

    Raises
    ------
    UnknownName
        If there is no such embedder; the message lists the known ones.
    MissingExtra
        If its packages are not installed.
    """
    return EMBEDDERS.get(name).fit(sorted(set(texts)), dimension=dimension)


def embedder_for_pairs(name: EmbedderName, pairs: Iterable[Pair]) -> Embedder:
    """Return the embedder for a reward that is learned from pairs.

    It is fitted to the responses and to the last messages of the prompts.

    Raises
    ------
    UnknownName
        If there is no such embedder; the message lists the known ones.
    MissingExtra
        If its packages are not installed.
    """
    texts = (
        text
        for pair in pairs
        for text in (pair.chosen, pair.rejected, prompt_text(pair.prompt[-1:]))
    )
    return get_embedder(name, texts, dimension=REWARD_DIMENSION)
