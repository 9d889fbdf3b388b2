"""Fakes as product: a clock that obeys the test, and a provider that misbehaves on request."""
