"""What every embedder keeps to, wherever its vectors are made."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from tokenizers import Tokenizer, models, pre_tokenizers

import agentic_synth
from agentic_synth.cache.embedders.embedder import Embedder, LocalEmbedder
from agentic_synth.cache.embedders.libraries import fastembed, model2vec, sentence_transformers
from agentic_synth.cache.embedders.ngrams import NGrams
from agentic_synth.cache.embedders.open import open_embedder
from agentic_synth.cache.embedders.upstream import UpstreamEmbedder
from agentic_synth.cache.embedders.wordllama import WordLlama
from agentic_synth.errors import BadReply, ConfigError

SOURCE = Path(next(iter(agentic_synth.__path__))).parent
WORDS = ("how", "old", "is", "the", "king", "of", "france", "what", "does", "a", "router", "cost", "reset", "password")


@cache
def _word(word: str) -> NDArray[np.float64]:
    return np.random.default_rng(sum(word.encode())).standard_normal(24)


def _vector_of(text: str) -> NDArray[np.float32]:
    """What a small model might say: the mean of its words' random vectors."""
    words = [_word(word) for word in text.lower().split()]
    mean: NDArray[np.float32] = np.mean(words, axis=0).astype(np.float32)
    return mean


async def _ask(texts: Sequence[str]) -> list[bytes]:
    await asyncio.sleep(0)
    return [_vector_of(text).astype("<f4").tobytes() for text in texts]


def _model2vec() -> Embedder:
    package = pytest.importorskip("model2vec")
    tokenizer = Tokenizer(models.WordLevel({word: n for n, word in enumerate(["[UNK]", "[PAD]", *WORDS])}, "[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    table = np.random.default_rng(0).standard_normal((tokenizer.get_vocab_size(), 24)).astype(np.float32)
    return model2vec("tiny", package.StaticModel(table, tokenizer))


class _Torchlike:
    """The part of a SentenceTransformer that is asked."""

    def encode(self, texts: Sequence[str], /, **options: object) -> NDArray[np.float32]:
        assert set(options) == {"batch_size", "show_progress_bar", "convert_to_numpy"}
        return np.stack([_vector_of(text) for text in texts])


class _Onnxlike:
    """The part of a fastembed TextEmbedding that is asked."""

    def embed(self, texts: Sequence[str], /, *, batch_size: int) -> Iterator[NDArray[np.float32]]:
        assert batch_size
        yield from (_vector_of(text) for text in texts)


MADE: dict[str, Callable[[], Embedder]] = {
    "wordllama": WordLlama,
    "ngrams": NGrams,
    "upstream": lambda: UpstreamEmbedder("acme/embed", _ask),
    "model2vec": _model2vec,
    "sentence-transformers": lambda: sentence_transformers("tiny", _Torchlike()),
    "fastembed": lambda: fastembed("tiny", _Onnxlike()),
}


@pytest.fixture(params=MADE)
async def embedder(request: pytest.FixtureRequest) -> AsyncIterator[Embedder]:
    made = MADE[request.param]()
    yield made
    await made.aclose()


async def test_vectors_have_length_one_and_the_order_of_their_texts(embedder: Embedder) -> None:
    texts = ["how old is the king", "what does a router cost", "how old is the king"]
    vectors = await embedder.embed(texts)
    assert (*vectors.shape, str(vectors.dtype)) == (3, embedder.dimensions, "float32")
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)
    assert (vectors[0] == vectors[2]).all()
    assert vectors[0] @ vectors[1] < 0.99
    alone = await embedder.embed(texts[1:2])
    assert np.allclose(alone[0], vectors[1], atol=1e-5)


async def test_what_shares_words_is_nearer_than_what_does_not(embedder: Embedder) -> None:
    asked, alike, other = await embedder.embed(
        ["how old is the king of france", "the king of france how old is he", "please reset my router password today"]
    )
    assert asked @ alike > asked @ other + 0.1


async def test_blank_texts_are_near_to_nothing(embedder: Embedder) -> None:
    vectors = await embedder.embed(["", "the king", "  \n"])
    assert (vectors.any(axis=1) == [False, True, False]).all()
    assert (await embedder.embed([])).shape == (0, embedder.dimensions)


async def test_a_long_text_is_embedded_to_its_end(embedder: Embedder) -> None:
    long = "the king of france " * 4_000
    ending = "please reset my router password " * 4_000
    vectors = await embedder.embed([long, long + ending])
    assert vectors[0] @ vectors[1] < 0.99
    assert np.isfinite(vectors).all()


@pytest.mark.parametrize("name", ["wordllama", "ngrams"])
@settings(max_examples=50, deadline=None)
@given(text=st.text(st.characters(codec=None, exclude_categories=()), max_size=200))
def test_any_text_has_a_finite_vector_the_same_each_time(name: str, text: str) -> None:
    embedder = _shared(name)
    (first, second), alone = asyncio.run(embedder.embed([text, text])), asyncio.run(embedder.embed([text]))
    assert (first == second).all()
    assert (first == alone[0]).all()
    assert abs(np.linalg.norm(first) - 1) < 1e-4 or not first.any()


def _shared(name: str, made: dict[str, Embedder] = {}) -> Embedder:  # noqa: B006 - loaded once for all examples
    return made.setdefault(name, made.get(name) or MADE[name]())


async def test_wordllama_says_what_its_own_package_says() -> None:
    # Read as its files are, since the package's loader asks the network for its tokenizer.
    probe = """
import importlib.util, pathlib, sys
import numpy as np
from safetensors import safe_open
from tokenizers import Tokenizer
from wordllama.inference import WordLlamaInference
place = pathlib.Path(importlib.util.find_spec("wordllama").origin).parent
with safe_open(place / "weights/l2_supercat_256.safetensors", "np") as weights:
    table = weights.get_tensor("embedding.weight")
model = WordLlamaInference(table, Tokenizer.from_file(str(place / "tokenizers/l2_supercat_tokenizer_config.json")))
sys.stdout.buffer.write(model.embed([sys.argv[1]], norm=True).tobytes())
"""
    text = "How do I reset the password of my router? Ça va, 12.5 %?"
    ended = subprocess.run([sys.executable, "-c", probe, text], capture_output=True, check=True)
    ours = (await WordLlama().embed([text]))[0]
    assert np.allclose(np.frombuffer(ended.stdout, np.float32), ours, atol=1e-6)


@pytest.mark.parametrize("name", ["wordllama", "ngrams"])
def test_our_own_need_no_network_and_set_up_no_logging(name: str) -> None:
    probe = f"""
import asyncio, logging, socket, sys
loop = asyncio.new_event_loop()
class Blocked(socket.socket):
    def connect(self, *_): raise AssertionError("a connection was tried")
socket.socket = Blocked
socket.getaddrinfo = Blocked.connect
from agentic_synth.cache.embedders.open import open_embedder
vectors = loop.run_until_complete(open_embedder("{name}").embed(["how old is the king", "x" * 9000]))
loop.close()
assert vectors.any() and not logging.getLogger().handlers
assert not set(sys.modules) & {{"requests", "torch", "huggingface_hub", "wordllama"}}, sys.modules.keys()
"""
    environment = {"PYTHONPATH": str(SOURCE), "HOME": "/nonexistent"}
    subprocess.run([sys.executable, "-W", "error", "-c", probe], env=environment, check=True)


@pytest.mark.parametrize(
    ("module", "name", "mend"),
    [
        ("numpy", "wordllama", "pip install 'agentic-synth[semantic]'"),
        ("numpy", "ngrams", "pip install 'agentic-synth[semantic]'"),
        ("tokenizers", "wordllama", "pip install 'agentic-synth[semantic]'"),
        ("model2vec", "model2vec/any", "pip install model2vec"),
        ("fastembed", "fastembed/any", "pip install fastembed"),
        ("sentence_transformers", "sentence-transformers/any", "pip install sentence-transformers"),
    ],
)
def test_what_is_not_installed_is_told_with_the_line_that_installs_it(module: str, name: str, mend: str) -> None:
    probe = f"""
import sys
sys.modules["{module}"] = None  # as if it were not installed
import agentic_synth.cache.sqlite, agentic_synth.cache.embedders.embedder, agentic_synth.cache.vectors.index
from agentic_synth.cache.embedders.open import open_embedder
from agentic_synth.errors import ConfigError
try:
    open_embedder("{name}")
except ConfigError as error:
    print(error.mend)
"""
    environment = {"PYTHONPATH": str(SOURCE)}
    ended = subprocess.run([sys.executable, "-c", probe], env=environment, capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == mend


def test_an_unknown_name_and_a_model_that_is_not_there_are_told() -> None:
    with pytest.raises(ConfigError, match="no embedder 'word2vec'") as caught:
        open_embedder("word2vec")
    assert "wordllama" in caught.value.mend
    with pytest.raises(ConfigError, match="no embedder 'model2vec'"):
        open_embedder("model2vec")
    with pytest.raises(ConfigError, match="cannot be loaded"):
        open_embedder("model2vec//nonexistent/model")


@pytest.mark.parametrize(
    ("answered", "told"),
    [
        ([b"\0" * 8], "1 vectors for 2 texts"),
        ([b"\0" * 8, b"\0" * 12], "3 numbers instead of 2"),
        ([b"\0" * 8, b"\0" * 7], "1.75 numbers instead of 2"),
    ],
)
async def test_an_upstream_that_answers_other_vectors_is_told(answered: list[bytes], told: str) -> None:
    async def ask(_: Sequence[str]) -> list[bytes]:
        return answered

    with pytest.raises(BadReply, match=told):
        await UpstreamEmbedder("acme/embed", ask, 2).embed(["a", "b"])


async def test_an_upstream_is_not_asked_for_blank_texts_and_may_answer_nonsense() -> None:
    asked: list[list[str]] = []

    async def ask(texts: Sequence[str]) -> list[bytes]:
        asked.append([*texts])
        return [np.array([np.inf, 1.0], "<f4").tobytes() for _ in texts]

    embedder = UpstreamEmbedder("acme/embed", ask)
    assert embedder.dimensions == 0
    assert not (await embedder.embed(["", "a"])).any()
    assert (asked, embedder.dimensions) == ([["a"]], 2)


async def test_much_text_is_encoded_beside_the_loop_and_little_where_it_is_asked() -> None:
    threads: list[str] = []

    def encode(texts: Sequence[str]) -> NDArray[np.float32]:
        threads.append(threading.current_thread().name)
        return np.ones((len(texts), 1), np.float32)

    embedder = LocalEmbedder("own", 1, encode, at_once=10)
    await embedder.embed(["12345", "67890"])
    await asyncio.gather(*(embedder.embed(["12345", "678901"]) for _ in range(3)))
    await embedder.aclose()
    assert threads[0] == threading.current_thread().name
    assert {name.rpartition("_")[0] for name in threads[1:]} == {"synth-embed"}
    assert len(set(threads[1:])) == 1
