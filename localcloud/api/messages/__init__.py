"""The protobuf classes of each API, under names that mypy can see."""
