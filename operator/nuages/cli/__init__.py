"""`nuages`: run, plan, crds."""
