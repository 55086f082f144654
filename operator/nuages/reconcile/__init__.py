"""The engine: what is wanted, what is there, what to do about it, and how it went."""
