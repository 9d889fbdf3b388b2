"""Pure decisions: synchronous state machines without clock, randomness or I/O; `now` and `rng` are passed in."""
