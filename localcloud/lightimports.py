"""Google's messages without Google's clients: importing a client's package for its messages alone takes a second.

Only for a process that uses no client (`localcloud up`): the packages' own initialisation, which imports every client
of the API, is left out, and their names lead to the modules of messages.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from types import ModuleType
from typing import Any

PACKAGES = (
    "iam_admin_v1",
    "iam_credentials_v1",
    "logging_v2",
    "resourcemanager_v3",
    "run_v2",
    "secretmanager_v1",
    "service_usage_v1",
    "sqladmin_v1",
)


class _Messages(ModuleType):
    """Stands for a client's package; its attributes are those of `<package>.types`."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(importlib.import_module(f"{self.__name__}.types"), name)


def install() -> None:
    """Before anything imports the packages; those that are imported already stay as they are."""
    for package in PACKAGES:
        name = f"google.cloud.{package}"
        spec = None if name in sys.modules else importlib.util.find_spec(name)
        if spec is not None and spec.submodule_search_locations is not None:
            module = _Messages(name)
            module.__spec__, module.__file__ = spec, spec.origin
            module.__path__ = list(spec.submodule_search_locations)
            sys.modules[name] = module
