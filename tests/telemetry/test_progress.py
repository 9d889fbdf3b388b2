"""Progress shows what matters, fits the line, and goes by the clock it is given."""

from __future__ import annotations

import asyncio
import io
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentic_synth.telemetry.figures import dollars, duration, short
from agentic_synth.telemetry.progress import (
    LineProgress,
    LiveProgress,
    Progress,
    Rate,
    bar,
    fit,
    open_progress,
    parts,
)
from agentic_synth.telemetry.run_statistics import Snapshot, Traffic
from agentic_synth.testing.clock import FakeClock


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


def snapshot(rows: int = 500, asked: int | None = 1_000, seconds: float = 10.0, **rest: Any) -> Snapshot:
    shown = {"rows_rejected": 0, "in_flight": 96, "from_store": 0, "sent": 0, "retries": 0, "tokens": 0, **rest}
    return Snapshot(rows_asked=asked, rows_made=rows, dollars=0.25, seconds=seconds, **shown)


async def shown(progress: Progress, clock: FakeClock, seconds: float) -> None:
    async def watch() -> None:
        await progress.watch(lambda: snapshot(rows=int(50 * clock.now()), seconds=clock.now()))

    task = asyncio.create_task(watch())
    await clock.advance(seconds)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert clock.sleeping == 0


async def test_plain_lines_every_few_seconds() -> None:
    stream, clock = io.StringIO(), FakeClock()
    await shown(LineProgress(stream, clock=clock, every=5.0), clock, 12.0)
    first, second = stream.getvalue().splitlines()
    assert first == "250/1,000 rows  $0.2500  96 in flight"
    assert second == "500/1,000 rows  50.0/s  10.0 s left  $0.2500  96 in flight"


async def test_a_live_line_is_gone_at_the_end() -> None:
    stream, clock = Terminal(), FakeClock()
    await shown(LiveProgress(stream, clock=clock), clock, 4.0)
    text = stream.getvalue()
    assert "200/1,000 rows" in text
    assert " 20%" in text
    last_shown, cursor_back = text.rfind("rows"), text.rfind("\x1b[?25h")
    assert 0 < last_shown < cursor_back
    assert text.rfind("\x1b[2K") > last_shown, "the line is erased"


def test_the_stream_decides_what_is_shown() -> None:
    assert isinstance(open_progress(Terminal()), LiveProgress)
    assert isinstance(open_progress(io.StringIO()), LineProgress)
    assert isinstance(open_progress(Terminal(), dumb=True), LineProgress)
    assert open_progress(Terminal(), quiet=True) is None


def test_zeros_are_left_out_and_the_rest_is_said() -> None:
    assert parts(snapshot(asked=None), None) == ["500 rows", "$0.2500", "96 in flight"]
    said = parts(snapshot(rows_rejected=3, from_store=1_200, retries=2, tokens=1_234_567), 250.0)
    assert said == [
        "500/1,000 rows",
        "250/s",
        "2.0 s left",
        "$0.2500",
        "96 in flight",
        "3 rejected",
        "1,200 from store",
        "2 retries",
        "1.23M tokens",
    ]


def test_what_waits_for_a_permit_is_not_in_flight() -> None:
    calm = Traffic(in_flight=12, waiting=0, limit=64, refused=0.001, breaker="closed")
    assert parts(snapshot(asked=1, rows=1, traffic=calm), None) == ["1/1 row", "$0.2500", "12 in flight"]
    busy = Traffic(in_flight=64, waiting=960, limit=64, refused=0.05, breaker="half_open", fallbacks=1_200, hedges=3)
    assert parts(snapshot(traffic=busy), None)[2:] == [
        "64 of 64 in flight",
        "960 waiting",
        "5% refused (429)",
        "breaker half open",
        "1,200 by a fallback",
        "3 hedged",
    ]


@given(st.integers(1, 200), st.integers(0, 10**7), st.integers(0, 10**7), st.floats(0.1, 1e6))
def test_a_line_always_fits(width: int, rows: int, asked: int, rate: float) -> None:
    now = snapshot(rows=rows, asked=asked, tokens=rows * 100, retries=rows)
    line = fit([bar(now), *parts(now, rate)], width)
    assert len(line) <= width
    assert "\n" not in line


def test_a_narrow_terminal_keeps_the_rows_and_drops_the_bar() -> None:
    now = snapshot()
    assert fit([bar(now), *parts(now, 10.0)], 20) == "500/1,000 rows"
    assert fit([bar(now), *parts(now, 10.0)], 100).startswith("━")


def test_the_rate_forgets_what_is_long_past() -> None:
    rate = Rate(window=10.0)
    assert rate.update(0.0, 0) is None
    assert rate.update(10.0, 1_000) == 100.0
    for second in range(11, 40):
        last = rate.update(float(second), 1_000 + 10 * (second - 10))
    assert last == pytest.approx(10.0)


@pytest.mark.parametrize(
    ("seconds", "told"), [(8.24, "8.2 s"), (59.94, "59.9 s"), (185, "3 min 05 s"), (7_800, "2 h 10 min"), (0, "0.0 s")]
)
def test_durations(seconds: float, told: str) -> None:
    assert duration(seconds) == told


def test_money_and_counts() -> None:
    assert [dollars(x) for x in (0, 0.0123, 1, 12_345.678)] == ["$0.00", "$0.0123", "$1.00", "$12,345.68"]
    assert [short(x) for x in (7, 999, 12_345, 4_560_000)] == ["7", "999", "12.3k", "4.56M"]
