"""The option that writes the expected blueprints anew."""

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--write-blueprints", action="store_true", help="write tests/unit/blueprints/*/blueprint.yaml, then read them"
    )
