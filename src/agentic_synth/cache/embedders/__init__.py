"""Texts as vectors: one Protocol, local models and an upstream behind it."""
