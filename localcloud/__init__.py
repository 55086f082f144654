"""localcloud: Google Cloud on one machine."""
