"""Kubernetes: what is watched, read and written there. Kopf is the shell; nothing is decided here."""
