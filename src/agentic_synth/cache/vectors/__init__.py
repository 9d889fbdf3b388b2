"""Vectors found by nearness: indexes in files beside the store, and the library of texts that they serve."""
