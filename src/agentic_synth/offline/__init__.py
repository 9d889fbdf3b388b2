"""The local generator: an upstream that answers without any model, from seeded chance and the request's own words."""
