"""Measurements of the real engine, each beside what it is compared with; LOG.md keeps what came of them."""
