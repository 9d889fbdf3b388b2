"""Requests on the wire: HTTP clients, server-sent events, and one adapter a wire format."""
