"""The door: an embedder by the name a user writes."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

from agentic_synth.cache.embedders.embedder import Embedder
from agentic_synth.errors import ConfigError

__all__ = ["open_embedder"]


def open_embedder(name: str = "wordllama") -> Embedder:
    """The local embedder *name*: ``wordllama``, ``ngrams``, or ``library/model`` for one of another library.

    The library is ``model2vec``, ``fastembed`` or ``sentence-transformers``, the model a name it knows or a directory.
    Loading takes up to 0.1 s for the two of our own and seconds for the others, so not on the event loop. Nothing is
    ever put in the place of an embedder that is missing: vectors of another one would not compare.

    Raises:
        ConfigError: no embedder has this name, what it needs is not installed, or its model cannot be had.
    """
    library, _, model = name.partition("/")
    opener = _OWN.get(name) or (_OTHERS.get(library) if model else None)
    if opener is None:
        known = ", ".join([*_OWN, *(f"{other}/MODEL" for other in _OTHERS)])
        raise ConfigError(f"there is no embedder {name!r}", mend=f"choose one of: {known}; or name an upstream's model")
    try:
        return opener(model)
    except ImportError as error:
        wanted = "'agentic-synth[semantic]'" if name in _OWN else library
        raise ConfigError(
            f"the embedder {name!r} needs a package that is not installed ({error})", mend=f"pip install {wanted}"
        ) from error
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"the embedder {name!r} cannot be loaded: {error}",
            mend="check the model's name, or give the directory it lies in; wordllama needs neither",
        ) from error


def _wordllama(_: str) -> Embedder:
    from agentic_synth.cache.embedders.wordllama import WordLlama  # noqa: PLC0415

    return WordLlama()


def _ngrams(_: str) -> Embedder:
    from agentic_synth.cache.embedders.ngrams import NGrams  # noqa: PLC0415

    return NGrams()


def _model2vec(model: str) -> Embedder:
    from agentic_synth.cache.embedders.libraries import model2vec  # noqa: PLC0415

    return model2vec(model, import_module("model2vec").StaticModel.from_pretrained(model))


def _fastembed(model: str) -> Embedder:
    from agentic_synth.cache.embedders.libraries import fastembed  # noqa: PLC0415

    return fastembed(model, import_module("fastembed").TextEmbedding(model))


def _sentence_transformers(model: str) -> Embedder:
    from agentic_synth.cache.embedders.libraries import sentence_transformers  # noqa: PLC0415

    return sentence_transformers(model, import_module("sentence_transformers").SentenceTransformer(model))


_OWN: dict[str, Callable[[str], Embedder]] = {"wordllama": _wordllama, "ngrams": _ngrams}
_OTHERS: dict[str, Callable[[str], Embedder]] = {
    "model2vec": _model2vec,
    "fastembed": _fastembed,
    "sentence-transformers": _sentence_transformers,
}
