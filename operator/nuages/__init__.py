"""Nuages: Django on Google Cloud, from one Kubernetes resource."""
