"""One module a wire format, each a set of pure functions that fits :class:`WireFormat`."""
