"""What the commands ask of a running local cloud, under `/_localcloud/` on the plain REST port."""

from __future__ import annotations

import asyncio
import contextlib
import fnmatch
import hmac
import json
import os
import signal
from collections.abc import Awaitable, Callable, Collection
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from aiohttp import web

from localcloud.admin_token import TOKEN_HEADER
from localcloud.core.cloud import Cloud
from localcloud.core.errors import PLAIN_MESSAGES, ApiError, Code
from localcloud.core.faults import Fault, Hook, Kind

LEFT_POLL_S = 0.2


class Admin:
    """Serves only who can read the folder, by the token that is kept there."""

    def __init__(self, cloud: Cloud, token: str, methods: Collection[str]) -> None:
        self._cloud, self._token, self._methods = cloud, token, methods
        self._routes: dict[tuple[str, str], Callable[[web.Request], Awaitable[web.StreamResponse]]] = {
            ("GET", "status"): self._status,
            ("POST", "build"): self._build,
            ("GET", "logs"): self._logs,
            ("GET", "faults"): self._list_faults,
            ("POST", "faults"): self._add_fault,
            ("DELETE", "faults"): self._clear_faults,
            ("GET", "limits"): self._show_limits,
            ("POST", "limits"): self._set_limits,
        }

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """One command's request."""
        if not hmac.compare_digest(request.headers.get(TOKEN_HEADER, ""), self._token):
            return _answer({"error": "This needs the token from the folder's address.json."}, 403)
        route = self._routes.get((request.method, request.path.removeprefix("/_localcloud/")))
        if route is None:
            return _answer({"error": f"There is no {request.method} {request.path}."}, 404)
        return await route(request)

    async def _status(self, _: web.Request) -> web.StreamResponse:
        cloud = self._cloud
        return _answer(
            {
                "projects": [project.id for project in cloud.projects.all()],
                "requests": sum(cloud.requests.counts.values()),
                "counts": dict(cloud.requests.counts.most_common(10)),
                "faults": len(cloud.faults.all()),
                "notes": self._notes(),
            }
        )

    def _notes(self) -> list[str]:
        """What stands in for something else here."""
        stand_ins: dict[str, str] = self._cloud.runtime.databases.stand_ins()
        return [f"{name}: {sentence}" for name, sentence in stand_ins.items()]

    async def _build(self, request: web.Request) -> web.StreamResponse:
        """Lines of JSON: progress as it happens, then the digest or the error."""
        from localcloud.runtime.builder import BuildError, build
        from localcloud.runtime.imagereference import BadReference
        from localcloud.runtime.instructions import DockerfileError

        asked = await request.json()
        if refusal := self._without_project(asked["tag"]):
            return _answer({"error": refusal}, 404)
        response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
        await response.prepare(request)
        lines: asyncio.Queue[dict[str, str]] = asyncio.Queue()
        loop = asyncio.get_running_loop()

        def progress(line: str) -> None:
            loop.call_soon_threadsafe(lines.put_nowait, {"progress": line})

        async def work() -> dict[str, str]:
            try:
                image = await build(
                    Path(asked["path"]),
                    asked["tag"],
                    self._cloud.runtime.images,
                    assume_system_packages=bool(asked.get("assume_system_packages")),
                    arguments=dict(asked.get("arguments", {})),
                    dockerfile=asked.get("dockerfile", "Dockerfile"),
                    progress=progress,
                )
                return {"digest": image.digest}
            except (BuildError, DockerfileError, BadReference, OSError) as error:
                return {"error": str(error)}

        task = asyncio.create_task(work())
        task.add_done_callback(lambda done: lines.put_nowait({} if done.cancelled() else done.result()))
        watching = asyncio.create_task(_cancel_when_left(request, task))
        try:
            while "progress" in (line := await lines.get()):
                await response.write(json.dumps(line).encode() + b"\n")
            await response.write(json.dumps(line).encode() + b"\n")
        except ConnectionResetError:
            pass  # whoever asked has left
        finally:
            task.cancel()
            watching.cancel()
        return response

    def _without_project(self, tag: str) -> str:
        """Why Google's registry would not take an image of this name; "" where it would, or another's is meant."""
        host, _, path = tag.partition("/")
        project = path.partition("/")[0]
        if not host.endswith((".pkg.dev", "gcr.io")) or self._cloud.projects.find(project) is not None:
            return ""
        known = ", ".join(item.id for item in self._cloud.projects.all())
        return f"--tag {tag}: there is no project {project} here. Name one of {known}."

    async def _logs(self, request: web.Request) -> web.StreamResponse:
        """Entries as lines of JSON; with `follow`, new ones until the client goes."""
        query = dict(request.query)
        tail, follow = int(query.pop("tail", "200")), bool(query.pop("follow", ""))
        if not follow and (unknown := self._without_entries(query)):
            return _answer({"error": unknown}, 404)
        response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
        await response.prepare(request)
        fresh: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        stop = self._cloud.runtime.logs.listen(fresh.put_nowait)
        try:
            past = [entry for entry in self._cloud.runtime.logs.entries() if _is_of(entry, query)]
            for entry in past[-tail:] if tail else []:
                await response.write(json.dumps(entry).encode() + b"\n")
            while follow:
                entry = await fresh.get()
                if _is_of(entry, query):
                    await response.write(json.dumps(entry).encode() + b"\n")
        except ConnectionResetError:
            pass  # the reader has enough
        finally:
            stop()
        return response

    def _without_entries(self, labels: dict[str, str]) -> str:
        """Why nothing would be shown; "" where there is something, or nobody is named."""
        entries = self._cloud.runtime.logs.entries()
        if not labels or any(_is_of(entry, labels) for entry in entries):
            return ""
        label, asked = next(iter(labels.items()))
        names = {str(entry.get("resource", {}).get("labels", {}).get(label, "")) for entry in entries} - {""}
        kind, have = label.partition("_")[0], f"There are some of {', '.join(sorted(names))}."
        return f"There are no log entries of the {kind} {asked}. {have if names else 'Nor of any other.'}"

    async def _list_faults(self, _: web.Request) -> web.StreamResponse:
        return _answer([_shown(fault) for fault in self._cloud.faults.all()])

    async def _add_fault(self, request: web.Request) -> web.StreamResponse:
        try:
            fault = _fault(await request.json())
            self._require_served(fault.method)
        except (KeyError, ValueError) as error:
            return _answer({"error": f"Not a fault: {error}."}, 400)
        return _answer(_shown(self._cloud.faults.add(fault)))

    def _require_served(self, pattern: str) -> None:
        """Raises ValueError where a fault would never strike."""
        if fnmatch.filter(self._methods, pattern):
            return
        by_name = {name.rpartition(".")[2].casefold(): name for name in sorted(self._methods)}
        wanted = pattern.strip("*").rpartition(".")[2].casefold()
        near = get_close_matches(pattern, self._methods, 1) or [
            by_name[name] for name in get_close_matches(wanted, by_name, 1)
        ]
        meant = f"; is {near[0]} meant" if near else ""
        raise ValueError(f"no method here fits {pattern}{meant}")

    async def _clear_faults(self, _: web.Request) -> web.StreamResponse:
        self._cloud.faults.clear()
        return _answer({})

    async def _show_limits(self, _: web.Request) -> web.StreamResponse:
        cloud = self._cloud
        return _answer(
            {
                "accounts": cloud.accounts.quota,
                "account_delay_s": cloud.accounts.propagation_s,
                "grant_delay_s": cloud.policies.propagation_s,
                "writes_per_minute": cloud.quotas.all(),
            }
        )

    async def _set_limits(self, request: web.Request) -> web.StreamResponse:
        """What the body leaves out stays; a write rate of null takes that quota away."""
        try:
            asked, cloud = await request.json(), self._cloud
            quota = int(asked.get("accounts", cloud.accounts.quota))
            delay_s = float(asked.get("account_delay_s", cloud.accounts.propagation_s))
            grant_delay_s = float(asked.get("grant_delay_s", cloud.policies.propagation_s))
            rates = {str(h): None if n is None else int(n) for h, n in asked.get("writes_per_minute", {}).items()}
        except (AttributeError, TypeError, ValueError) as error:
            return _answer({"error": f"Not a limit: {error}."}, 400)
        cloud.accounts.configure(quota=quota, propagation_s=delay_s)
        cloud.policies.configure(propagation_s=grant_delay_s)
        for host, rate in rates.items():
            cloud.quotas.configure(host, rate)
        return await self._show_limits(request)


async def _cancel_when_left(request: web.Request, task: asyncio.Task[Any]) -> None:
    """A build that says nothing for long would meet the closed connection only then."""
    while request.transport is not None and not request.transport.is_closing():  # noqa: ASYNC110 - aiohttp tells nobody
        await asyncio.sleep(LEFT_POLL_S)
    task.cancel()


def _is_of(entry: dict[str, Any], labels: dict[str, str]) -> bool:
    """Whether the entry's resource has these labels; a database is also named without its project."""
    of_entry = entry.get("resource", {}).get("labels", {})
    return all(
        of_entry.get(name) == value or str(of_entry.get(name, "")).endswith(f":{value}")
        for name, value in labels.items()
    )


def _fault(asked: dict[str, Any]) -> Fault:
    code = _code(str(asked.get("code", "UNAVAILABLE")))
    error = ApiError(code, str(asked.get("message") or PLAIN_MESSAGES[code]))
    kind = Kind(asked.get("kind", "fail"))
    if kind is Kind.CALL or (kind is Kind.KILL and int(asked.get("pid", 0)) <= 1):
        raise ValueError("kill needs the pid of the caller, and call is for tests in this process")
    retry_after_s = asked.get("retry_after_s")
    return Fault(
        method=str(asked["method"]),
        kind=kind,
        after=bool(asked.get("after", False)),
        hook=_killer(int(asked["pid"])) if kind is Kind.KILL else None,
        retry_after_s=None if retry_after_s is None else float(retry_after_s),
        error=error,
        seconds=float(asked.get("seconds", 0)),
        times=int(asked.get("times", 1)),
        skip=int(asked.get("skip", 0)),
        resource=str(asked.get("resource", "*")),
    )


def _code(name: str) -> Code:
    if name not in Code.__members__:
        raise ValueError(f"{name} is no code; there are {', '.join(Code.__members__)}")
    return Code[name]


def _killer(pid: int) -> Hook:
    async def kill() -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)

    return kill


def _shown(fault: Fault) -> dict[str, Any]:
    return {
        "method": fault.method,
        "kind": fault.kind.value,
        "code": fault.error.code.name,
        "seconds": fault.seconds,
        "retry_after_s": fault.retry_after_s,
        "after": fault.after,
        "times": fault.times,
        "skip": fault.skip,
        "resource": fault.resource,
    }


def _answer(value: Any, status: int = 200) -> web.Response:
    return web.json_response(value, status=status)
