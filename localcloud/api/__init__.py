"""Google's APIs, one module a service."""
