"""Every API that this cloud serves."""

from __future__ import annotations

import importlib
import inspect
import logging
import pkgutil

from aiohttp import web

from localcloud import api
from localcloud.core.cloud import Cloud
from localcloud.core.rest import RestService
from localcloud.core.service import Service
from localcloud.gateway.rest import FrontDoor

logger = logging.getLogger(__name__)


def services(cloud: Cloud) -> list[Service | RestService]:
    """While the APIs are being written: every class in localcloud.api that takes the cloud alone."""
    made: list[Service | RestService] = []
    for info in pkgutil.iter_modules(api.__path__, "localcloud.api."):
        try:
            module = importlib.import_module(info.name)
            for _, kind in inspect.getmembers(module, inspect.isclass):
                is_local = kind.__module__ == info.name and issubclass(kind, Service | RestService)
                if is_local and hasattr(kind, "host") and not kind.__name__.startswith("_"):
                    made.append(kind(cloud))
        except (ImportError, TypeError, SyntaxError, AttributeError, NameError) as error:
            logger.warning("%s: %r", info.name, error)
    return made


class _NoFrontDoor:
    async def handle(self, request: web.Request) -> web.StreamResponse:
        return web.Response(status=404)


def front_door(cloud: Cloud) -> FrontDoor:
    try:
        from localcloud.front.frontdoor import FrontDoor as Real
    except ImportError:
        return _NoFrontDoor()
    return Real(cloud)
