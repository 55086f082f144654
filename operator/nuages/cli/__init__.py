"""`nuages`: run, plan, crds, reference."""
