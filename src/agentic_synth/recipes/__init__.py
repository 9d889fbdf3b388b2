"""What to generate: columns, samplers, templates, schemas, gates."""
