"""Serves the declared services as Google does: gRPC, and REST with JSON."""
