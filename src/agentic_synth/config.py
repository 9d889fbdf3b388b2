"""Frozen settings; :mod:`agentic_synth.settings` reads them."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

import msgspec

__all__ = [
    "Config",
    "EngineConfig",
    "Secret",
    "SemanticConfig",
    "StoreConfig",
    "Timeouts",
    "UpstreamConfig",
    "UpstreamSettings",
    "WarmingConfig",
]

Wire: TypeAlias = Literal["openai", "anthropic", "gemini", "offline"]
Http: TypeAlias = Literal["auto", "1", "2"]
Seconds: TypeAlias = Annotated[float, msgspec.Meta(gt=0)]
AtLeastOne: TypeAlias = Annotated[int, msgspec.Meta(ge=1)]
Share: TypeAlias = Annotated[float, msgspec.Meta(ge=0, le=1)]
PerMinute: TypeAlias = Annotated[float, msgspec.Meta(gt=0)]


class Secret:
    """A key that never shows itself: only :meth:`reveal` gives the text."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The key, for the header of a request and nothing else."""
        return self._text

    def __repr__(self) -> str:
        return "Secret(***)"

    def __reduce__(self) -> Any:
        raise TypeError("a Secret is never serialised")


class Timeouts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Seconds each phase of an attempt may take; waiting for a permit is not part of any."""

    pool: Seconds = 30.0
    connect: Seconds = 10.0
    first_token: Seconds = 120.0
    inter_token: Seconds = 60.0
    total: Seconds = 600.0


class UpstreamConfig(msgspec.Struct, frozen=True, kw_only=True):
    """A model at a base URL with a key.

    *reference* is ``provider/model`` as the user wrote it; *model* is the upstream's own name for it. *key_variable*
    is the environment variable that holds its key, or would. *structured* says that the upstream takes a JSON Schema
    natively. *requests_per_minute* and the token limits are caps on top of what is discovered. *max_batch_size* and
    *max_batch_tokens* say how many texts an embeddings call may hold, in place of what is known of the provider.
    """

    reference: str
    name: str
    model: str
    wire: Wire
    base_url: str = ""
    api_key: Secret | None = None
    key_variable: str = ""
    headers: dict[str, str] = {}
    http: Http = "auto"
    ca_file: str | None = None
    proxy: str | None = None
    timeouts: Timeouts = Timeouts()
    structured: bool = True
    max_connections: int = 1_000
    requests_per_minute: float | None = None
    input_tokens_per_minute: float | None = None
    output_tokens_per_minute: float | None = None
    max_batch_size: int | None = None
    max_batch_tokens: float | None = None


class UpstreamSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the user says of one provider (``[upstreams.NAME]`` in TOML): a known one is adjusted, a new one defined.

    *key_variable* names the environment variable that holds the key; the key itself never stands in a file.
    """

    base_url: str | None = None
    wire: Literal["openai", "anthropic", "gemini"] | None = None
    key_variable: str | None = None
    headers: dict[str, str] = {}
    ca_file: str | None = None
    proxy: str | None = None
    structured: bool | None = None
    max_connections: AtLeastOne = 1_000
    requests_per_minute: PerMinute | None = None
    input_tokens_per_minute: PerMinute | None = None
    output_tokens_per_minute: PerMinute | None = None
    max_batch_size: AtLeastOne | None = None
    max_batch_tokens: AtLeastOne | None = None


class EngineConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How hard the engine works and how long it tries.

    *concurrency* is a fixed number of calls in flight an upstream, None (written ``auto``) for the adaptive limit.
    *tries* counts transport tries of one request, the first included. *budget* is what a run may spend, as written
    (``5usd``, ``2Mtok``, ``10000req``). *hedge* asks a second time when the first call is later than most, and takes
    whichever answers first (at most 5 % more calls).
    *batching* joins embeddings requests into calls of many texts; each waits up to *linger* seconds for company. *poll*
    is the longest wait between two looks at a provider's batch; the first look comes after a twelfth of it.
    """

    concurrency: AtLeastOne | None = None
    tries: AtLeastOne = 8
    backoff_base: Seconds = 0.5
    backoff_cap: Seconds = 60.0
    retry_budget: float = 0.2
    budget: str | None = None
    fallback: bool = True
    hedge: bool = False
    batching: bool = True
    linger: Seconds = 0.01
    poll: Seconds = 60.0


class StoreConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where answers are kept; *path* None is the user's data directory, ``":none:"`` keeps nothing.

    *synchronous* ``normal`` survives ``kill -9``, ``full`` survives power loss too. Answers older than *ttl* seconds
    are never served again, however often they were asked; None keeps them for ever.
    """

    path: str | None = None
    synchronous: Literal["normal", "full"] = "normal"
    ttl: Seconds | None = None


class SemanticConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How prompts that mean the same are found, for requests and columns that say ``reuse: semantic``.

    *embedder* is ``wordllama``, ``ngrams``, a model of another library (``model2vec/MODEL``, ``fastembed/MODEL``,
    ``sentence-transformers/MODEL``) or an upstream's (``openai/text-embedding-3-small``). *max_false_hit* is the share
    of hits that may be wrong, kept with 95 % confidence; *check_share* the share of hits that are asked anew to learn
    from. *max_entries* prompts are remembered; *index* holds a partition that has outgrown a plain scan.
    """

    embedder: str = "wordllama"
    max_false_hit: Share = 0.01
    check_share: Share = 0.02
    max_entries: AtLeastOne = 100_000
    index: Literal["ivf", "exact", "usearch", "ruvector"] = "ivf"


class WarmingConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whether requests that are likely to come are asked before anybody does, while nothing else is asked.

    It begins with ``async with Synth()`` and needs a store that outlives the process. *share* of the dollars and of the
    calls that real requests took in the last 24 hours may be spent on it; the *top* most popular requests are looked
    at.
    """

    enabled: bool = False
    share: Share = 0.02
    top: AtLeastOne = 1_000


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything a :class:`Synth` can be told, with defaults that suit most."""

    model: str | None = None
    base_url: str | None = None
    fallback: tuple[str, ...] = ()
    http: Http = "auto"
    engine: EngineConfig = EngineConfig()
    store: StoreConfig = StoreConfig()
    semantic: SemanticConfig = SemanticConfig()
    warming: WarmingConfig = WarmingConfig()
    timeouts: Timeouts = Timeouts()
    prices: dict[str, dict[str, float]] = {}
    upstreams: dict[str, UpstreamSettings] = {}
