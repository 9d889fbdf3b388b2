"""What is seen of a run while it goes on: one live line on a terminal, a plain line now and then elsewhere.

Progress pulls: it reads a snapshot a few times a second and costs a row nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import Protocol, TextIO

from agentic_synth.clock import Clock, SystemClock
from agentic_synth.telemetry.figures import counted, dollars, duration, short
from agentic_synth.telemetry.run_statistics import Snapshot

__all__ = ["LineProgress", "LiveProgress", "Progress", "Rate", "fit", "open_progress", "parts"]

BAR = 24
_WORTH_SAYING = 0.01


class Progress(Protocol):
    """Shows a run."""

    async def watch(self, snapshot: Callable[[], Snapshot]) -> None:
        """Show what *snapshot* tells, again and again, until the task is cancelled."""
        ...


def open_progress(stream: TextIO, *, quiet: bool = False, dumb: bool = False) -> Progress | None:
    """What suits *stream*: a live line on a terminal, plain lines elsewhere or where it is *dumb*, None if *quiet*."""
    if quiet:
        return None
    return LiveProgress(stream) if stream.isatty() and not dumb else LineProgress(stream)


class Rate:
    """Rows a second over the last *window* seconds, so that the time left follows what happens now."""

    def __init__(self, window: float = 15.0, points: int = 64) -> None:
        self._window = window
        self._points: deque[tuple[float, int]] = deque(maxlen=points)

    def update(self, seconds: float, rows: int) -> float | None:
        """Tell where the run is; the rate, or None while there is too little to tell."""
        points = self._points
        while len(points) > 1 and seconds - points[0][0] > self._window:
            points.popleft()
        points.append((seconds, rows))
        passed = seconds - points[0][0]
        return (rows - points[0][1]) / passed if passed > 0 else None


class LineProgress:
    """A plain line at the beginning of each *every* seconds, for logs and pipes."""

    def __init__(self, stream: TextIO, *, clock: Clock | None = None, every: float = 5.0) -> None:
        self._stream = stream
        self._clock = clock or SystemClock()
        self._every = every

    async def watch(self, snapshot: Callable[[], Snapshot]) -> None:
        rate = Rate(window=6 * self._every)
        while True:
            await self._clock.sleep(self._every)
            now = snapshot()
            self._stream.write("  ".join(parts(now, rate.update(now.seconds, now.rows_made))) + "\n")
            self._stream.flush()


class LiveProgress:
    """One line that changes in place, with a bar where there is room, and is gone when the run ends."""

    def __init__(self, stream: TextIO, *, clock: Clock | None = None, every: float = 0.25) -> None:
        self._stream = stream
        self._clock = clock or SystemClock()
        self._every = every

    async def watch(self, snapshot: Callable[[], Snapshot]) -> None:
        from rich.console import Console  # noqa: PLC0415 - only where there is a terminal
        from rich.live import Live  # noqa: PLC0415
        from rich.text import Text  # noqa: PLC0415

        console = Console(file=self._stream, highlight=False)
        rate = Rate()
        with Live(console=console, auto_refresh=False, transient=True) as live:
            while True:
                now = snapshot()
                shown = parts(now, rate.update(now.seconds, now.rows_made))
                line = fit([bar(now), *shown] if now.rows_asked else shown, console.width - 1)
                live.update(Text(line, no_wrap=True, overflow="crop"), refresh=True)
                await self._clock.sleep(self._every)


def parts(now: Snapshot, rate: float | None) -> list[str]:
    """What is said of the run, the most important first; zeros are left out."""
    asked = now.rows_asked
    said = [f"{now.rows_made:,}/{counted(asked, 'row')}" if asked is not None else counted(now.rows_made, "row")]
    if rate is not None and not (now.batches and not rate):
        said.append(f"{rate:,.1f}/s" if rate < 100 else f"{rate:,.0f}/s")
        if asked is not None and rate > 0 and now.rows_made < asked:
            said.append(f"{duration((asked - now.rows_made) / rate)} left")
    if now.batches:
        said.append(now.batches)
    if now.dollars:
        said.append(dollars(now.dollars))
    said += _traffic(now)
    for count, name in (
        (now.rows_rejected, "rejected"),
        (now.from_store, "from store"),
        (now.retries, "retries"),
    ):
        if count:
            said.append(f"{count:,} {name}")
    if now.tokens:
        said.append(f"{short(now.tokens)} tokens")
    return said


def _traffic(now: Snapshot) -> Iterator[str]:
    """What is on the wire; what holds it back is said where something does."""
    traffic = now.traffic
    if now.batches and not now.in_flight:
        return
    if traffic is None:
        yield f"{now.in_flight:,} in flight"
        return
    if traffic.waiting:
        yield f"{traffic.in_flight:,} of {traffic.limit:,} in flight"
        yield f"{traffic.waiting:,} waiting"
    else:
        yield f"{traffic.in_flight:,} in flight"
    if traffic.refused >= _WORTH_SAYING:
        yield f"{traffic.refused:.0%} refused (429)"
    if traffic.breaker != "closed":
        yield f"breaker {traffic.breaker.replace('_', ' ')}"
    if traffic.fallbacks:
        yield f"{traffic.fallbacks:,} by a fallback"
    if traffic.hedges:
        yield f"{traffic.hedges:,} hedged"


def bar(now: Snapshot) -> str:
    """How much of the rows there is, as a bar of fixed width."""
    share = min(1.0, now.rows_made / now.rows_asked) if now.rows_asked else 0.0
    done = int(share * BAR)
    return "━" * done + "─" * (BAR - done) + f" {int(share * 100):3d}%"  # never 100 before the last row


def fit(said: list[str], width: int) -> str:
    """As many of the parts as the line has room for; where even two have none, the bar goes first."""
    if said and said[0][:1] in ("━", "─") and len(said) > 1 and len(said[0]) + len(said[1]) + 2 > width:
        said = said[1:]
    line = said[0][:width] if said else ""
    for part in said[1:]:
        if len(line) + 2 + len(part) > width:
            break
        line = f"{line}  {part}"
    return line
