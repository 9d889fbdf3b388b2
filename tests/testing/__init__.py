"""The fakes that are product: the clock, the simulated provider and its server."""
