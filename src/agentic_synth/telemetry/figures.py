"""Figures as people read them."""

from __future__ import annotations

__all__ = ["counted", "dollars", "duration", "short"]


def counted(count: int, noun: str) -> str:
    """``1 row``, ``2,000 rows``; *noun* takes an ``s``."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def duration(seconds: float) -> str:
    """``8.2 s``, ``3 min 05 s``, ``2 h 10 min``."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60:,} h {minutes % 60:02d} min"


def dollars(amount: float) -> str:
    """``$12.34``; small sums with the digits that matter."""
    return f"${amount:,.2f}" if amount >= 1 or amount == 0 else f"${amount:.4f}"


def short(count: int) -> str:
    """``950``, ``12.3k``, ``4.56M``."""
    if count < 1_000:
        return str(count)
    return f"{count / 1_000:.1f}k" if count < 1_000_000 else f"{count / 1_000_000:.2f}M"
