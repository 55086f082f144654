"""Google Cloud: one driver per resource, the clients, and how their calls fail."""
