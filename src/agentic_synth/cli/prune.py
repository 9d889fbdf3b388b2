"""``synth cache prune``: let go of the stored answers that are worth least."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Annotated

import typer

from agentic_synth.ages import age_in_seconds
from agentic_synth.cli.opened import existing_store
from agentic_synth.cli.options import Json, Store
from agentic_synth.cli.terminal import say, write_json
from agentic_synth.errors import ConfigError
from agentic_synth.telemetry.figures import counted

if TYPE_CHECKING:
    from agentic_synth.cache.prune import Pruned, Worth

__all__ = ["age", "prune"]

_SIZE = re.compile(r"([0-9.]+) ?([kMGT]?)i?B?", re.IGNORECASE)
_POWERS = {"": 0, "k": 3, "m": 6, "g": 9, "t": 12}
_WORTHS = ("value", "lru", "lfu", "fifo")


def prune(
    max_bytes: Annotated[
        str | None, typer.Option(help="How large the file may stay: 500MB, 10GB.", metavar="SIZE")
    ] = None,
    max_entries: Annotated[int | None, typer.Option(help="How many answers may stay.", min=0, metavar="N")] = None,
    older_than: Annotated[
        str | None, typer.Option(help="Answers older than this go, whatever room there is: 12h, 90d.", metavar="AGE")
    ] = None,
    policy: Annotated[
        str,
        typer.Option(
            help="What goes first: value (saves least a byte), lru (used longest ago), lfu (used least), fifo (oldest)."
        ),
    ] = "value",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Tell what would go; delete nothing.")] = False,
    json: Json = False,
    store: Store = None,
) -> None:
    """Delete the stored answers that are worth least.

    First go those that can never be served (invalid, truncated, refused, audit copies), then the others. What a
    running run draws from stays. What goes is paid again if it is needed again.

    \b
      synth cache prune --max-bytes 10GB --dry-run
      synth cache prune --max-entries 100000 --policy lru
      synth cache prune --older-than 90d
    """
    if max_bytes is None and max_entries is None and older_than is None:
        raise ConfigError(
            "nothing says how much may stay", mend="add --max-bytes SIZE, --max-entries N or --older-than AGE"
        )
    worth = _worth(policy)
    before = None if older_than is None else time.time() - age(older_than)
    size = None if max_bytes is None else _bytes(max_bytes)
    file = existing_store(store)
    if file is None:
        say("nothing is stored yet")
        return
    from agentic_synth.cache.prune import Bounds, prune_file  # noqa: PLC0415 - keeps --help fast

    told = prune_file(file, Bounds(size, max_entries, before), time.time(), worth=worth, dry_run=dry_run)
    if json:
        import msgspec  # noqa: PLC0415 - keeps --help fast

        write_json({"file": str(file), "dry_run": dry_run, **msgspec.to_builtins(told)})
    else:
        _tell(told, dry_run=dry_run)


def _tell(told: Pruned, *, dry_run: bool) -> None:
    reasons = f" ({', '.join(f'{count:,} {reason}' for reason, count in told.reasons.items())})" if told.reasons else ""
    verb = "would be deleted" if dry_run else "deleted"
    size = f"{told.bytes / 1e6:,.1f} MB, once {told.dollars:,.4f} dollars"
    say(f"{counted(told.entries, 'answer')} {verb}{reasons}, {size}")
    if told.spared:
        say(f"{counted(told.spared, 'answer')} spared: a running run draws from them")
    say(f"{counted(told.left, 'answer')} {'would stay' if dry_run else 'stay'}")


def age(text: str) -> float:
    """The seconds in an age as a flag gives it."""
    seconds = age_in_seconds(text)
    if seconds is None:
        raise ConfigError(f"cannot read the age {text!r}", mend="write a number and s, m, h, d or w: 12h, 30d")
    return seconds


def _bytes(text: str) -> int:
    found = _SIZE.fullmatch(text.strip())
    try:
        if found is None:
            raise ValueError
        return int(float(found[1]) * 10.0 ** _POWERS[found[2].lower()])
    except ValueError:
        raise ConfigError(f"cannot read the size {text!r}", mend="write a number and MB or GB: 500MB, 10GB") from None


def _worth(policy: str) -> Worth:
    for known in _WORTHS:
        if policy == known:
            return known  # type: ignore[return-value]
    raise ConfigError(
        f"there is no policy {policy!r} for a store on disk",
        mend=f"choose {', '.join(_WORTHS)}; the other eviction policies need to see every lookup in its order",
    )
