"""The steps of a request, one concern a file, each around the next."""
