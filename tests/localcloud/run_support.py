"""What the tests of Cloud Run share: a small image, its client, waiting for operations, requests to the front door."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from google.cloud import run_v2

from localcloud.localcloud import LocalCloud
from localcloud.runtime.builder import build

PARENT = "projects/demo/locations/europe-west1"
REPOSITORY = "europe-west1-docker.pkg.dev/demo/apps/app"
NUMBER = "187635794409"
DOCKERFILE = 'FROM python:{python}-slim\nWORKDIR /srv/app\nCOPY app.py .\nUSER 2000\nCMD ["python", "app.py"]\n'
DEADLINE_S = 60.0


async def build_app(cloud: LocalCloud, folder: Path, tag: str = "v1", *, python: str = "3.11") -> str:
    """The test image (run_app.py) in the cloud's registry; its reference."""
    context = folder / "context"
    await asyncio.to_thread(context.mkdir, exist_ok=True)
    shutil.copy(Path(__file__).with_name("run_app.py"), context / "app.py")
    (context / "Dockerfile").write_text(DOCKERFILE.format(python=python))
    reference = f"{REPOSITORY}:{tag}"
    await build(context, reference, cloud.runtime.images, progress=lambda _: None)
    return reference


async def finished(operation: Any) -> Any:
    """The result of a long-running operation of Google's client, asked for often. Raises its error."""
    await eventually(operation.done)
    return await operation.result()


def env(**values: str) -> list[run_v2.EnvVar]:
    return [run_v2.EnvVar(name=name, value=value) for name, value in values.items()]


def template(image: str, *, revision: str = "", **values: Any) -> run_v2.RevisionTemplate:
    """A revision template; upper-case keywords are environment variables."""
    variables = env(**{name: value for name, value in values.items() if name.isupper()})
    variables += values.pop("env", [])
    container = {"image": image, "env": variables, **values.pop("container", {})}
    rest = {name: value for name, value in values.items() if not name.isupper()}
    return run_v2.RevisionTemplate(revision=revision, containers=[run_v2.Container(container)], **rest)


@dataclass
class Services:
    """Deploys through Google's client."""

    client: run_v2.ServicesAsyncClient
    image: str

    async def deploy(self, name: str = "app", *, access: dict[str, Any] | None = None, **values: Any) -> Any:
        """Create a public service and wait until it is ready. Raises the operation's error."""
        service = run_v2.Service(
            template=template(values.pop("image", self.image), **values),
            **({"invoker_iam_disabled": True} if access is None else access),
        )
        request = run_v2.CreateServiceRequest(parent=PARENT, service=service, service_id=name)
        return await finished(await self.client.create_service(request))

    async def update(self, service: run_v2.Service) -> Any:
        return await finished(await self.client.update_service(run_v2.UpdateServiceRequest(service=service)))

    async def get(self, name: str = "app") -> run_v2.Service:
        return await self.client.get_service(name=f"{PARENT}/services/{name}")


@dataclass
class Door:
    """Requests to apps by their own names, without a resolver."""

    cloud: LocalCloud
    session: aiohttp.ClientSession
    headers: dict[str, str] = field(default_factory=dict)

    def host(self, service: str, tag: str = "") -> str:
        return f"{tag + '---' if tag else ''}{service}-{NUMBER}.europe-west1.run.app"

    async def get(
        self, path: str, service: str = "app", tag: str = "", host: str = "", **options: Any
    ) -> tuple[int, str]:
        """Status and text."""
        headers = {"Host": host or self.host(service, tag), **self.headers, **options.pop("headers", {})}
        url = f"http://127.0.0.1:{self.cloud.front_port}{path}"
        async with self.session.request(options.pop("method", "GET"), url, headers=headers, **options) as answer:
            return answer.status, await answer.text()


def log_texts(cloud: LocalCloud, log: str = "varlog%2Fsystem") -> list[str]:
    """The text payloads of one of Cloud Run's logs."""
    entries = cloud.runtime.logs.entries()
    return [str(e["textPayload"]) for e in entries if e["logName"].endswith("%2F" + log) and "textPayload" in e]


async def until(holds: Callable[[], object]) -> None:
    """Wait for a condition."""

    async def look() -> object:
        return holds()

    await eventually(look)


async def eventually(holds: Callable[[], Awaitable[object]]) -> None:
    """Wait for a condition that has to be asked for."""
    async with asyncio.timeout(DEADLINE_S):
        while not await holds():  # noqa: ASYNC110 - what is asked is not in this process
            await asyncio.sleep(0.03)
