"""Where the control plane's programs come from, and what is said where there are none."""

from __future__ import annotations

import asyncio
import hashlib
import io
import os
import tarfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from localcloud.controlplane import build, envtest
from localcloud.controlplane.binaries import Binaries
from localcloud.controlplane.build import find, machine
from localcloud.controlplane.errors import MissingError
from localcloud.controlplane.plane import ControlPlane
from localcloud.runtime.processes import Processes

LINUX = ("linux", "amd64")
SLOW_GO = """#!/bin/sh
# Stands where Go would: says a version, and "builds" by writing what follows -o.
if [ "$1" = version ]; then echo "go version go1.26.1 linux/amd64"; exit; fi
echo built >> "$BUILDS"
while [ "$1" != -o ]; do shift; done
sleep 0.5
echo program > "$2"
"""


def nothing(_line: str) -> None:
    """No progress is looked at."""


def program(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


def without_network(tmp_path: Path, path: str = "") -> dict[str, str]:
    """An environment with a cache of its own and only the given PATH."""
    return {"PATH": path, "LOCALCLOUD_CACHE": str(tmp_path / "cache"), "HOME": str(tmp_path)}


async def test_program_that_was_given_is_taken(tmp_path: Path) -> None:
    """LOCALCLOUD_CONTROLPLANE comes before everything; where it is no program that is said, and nothing is built."""
    given = program(tmp_path / "mine", "#!/bin/sh\n")
    found = await find(nothing, {"LOCALCLOUD_CONTROLPLANE": str(given)})
    assert (found.controlplane, found.has_collectors) == (given, True)
    with pytest.raises(MissingError, match=r"LOCALCLOUD_CONTROLPLANE: .*absent is no program"):
        await find(nothing, {"LOCALCLOUD_CONTROLPLANE": str(tmp_path / "absent")})


async def test_two_at_once_build_once(tmp_path: Path) -> None:
    """The second waits for the first's result; afterwards it comes from the cache, without Go."""
    builds = tmp_path / "builds"
    path = f"{program(tmp_path / 'bin' / 'go', SLOW_GO).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**without_network(tmp_path, path), "BUILDS": str(builds)}
    said: list[str] = []
    first, second = await asyncio.gather(find(said.append, environment), find(said.append, environment))
    assert first == second
    assert builds.read_text() == "built\n"
    assert "another process is building the control plane: waiting for it" in said
    assert await find(nothing, without_network(tmp_path)) == first


async def test_failed_build_leaves_no_program(tmp_path: Path) -> None:
    """What go build says last is in the message, and the next try builds again."""
    go = "#!/bin/sh\n[ $1 = version ] && echo go version go1.26.1 && exit\necho no space left >&2; exit 1\n"
    path = str(program(tmp_path / "bin" / "go", go).parent)
    assets = tmp_path / "assets"
    program(assets / "etcd", "")
    program(assets / "kube-apiserver", "")
    environment = {**without_network(tmp_path, path), "KUBEBUILDER_ASSETS": str(assets)}
    found = await find(nothing, environment)
    assert (found.etcd, found.has_collectors) == (assets / "etcd", False)
    assert list((tmp_path / "cache").glob("controlplane-*[0-9]")) == []


GET_GO = {
    "linux": r"Run 'curl -fsSL https://go.dev/dl/go1\S+.linux-\w+.tar.gz \| sudo tar -xz -C \S+'",
    "darwin": r"(Run 'brew install go'|Install it from https://go.dev/dl)\.",
}[machine()[0]]


@pytest.mark.parametrize(
    ("go", "said"),
    [
        ("", rf"Go 1.21 or later is needed .* is not installed\. {GET_GO}"),
        ("#!/bin/sh\necho go version go1.19.8 linux/amd64\n", rf"Go 1.21 or later .* go1.19.8 linux/amd64\. {GET_GO}"),
        ("#!/bin/sh\n[ $1 = version ] && echo go version go1.26.1 && exit\nexit 3\n", r"go build exited with 3"),
    ],
)
async def test_nothing_at_all_is_said_with_its_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, go: str, said: str
) -> None:
    """Without a usable Go and without a network the message names both, and what helps."""
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")  # nobody listens there
    monkeypatch.setattr(build, "GO_FOLDER", tmp_path / "go")
    path = str(program(tmp_path / "bin" / "go", go).parent if go else tmp_path / "bin")
    with pytest.raises(MissingError, match=f"{said}.*Nor could Kubernetes' own binaries be fetched") as raised:
        await find(nothing, without_network(tmp_path, path))
    assert "\n" not in str(raised.value)


async def test_the_go_that_the_remedy_installs_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also behind a distribution's, which is too old and comes first on PATH."""
    monkeypatch.setattr(build, "GO_FOLDER", tmp_path / "go")
    program(tmp_path / "go" / "bin" / "go", SLOW_GO)
    old = program(tmp_path / "bin" / "go", "#!/bin/sh\necho go version go1.19.8 linux/amd64\n").parent
    path = f"{old}{os.pathsep}{os.defpath}"
    environment = {**without_network(tmp_path, path), "BUILDS": str(tmp_path / "builds")}
    assert (await find(nothing, environment)).origin == "built here"


def archive(*names: str) -> bytes:
    """A gzipped tar as controller-tools makes them."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as tar:
        for name in names:
            member = tarfile.TarInfo(f"controller-tools/envtest/{name}")
            member.size, member.mode = len(name), 0o755
            tar.addfile(member, io.BytesIO(name.encode()))
    return content.getvalue()


class Releases:
    """A server of an index and its archives, on loopback."""

    def __init__(self) -> None:
        self.files: dict[str, dict[str, bytes]] = {}
        self.tampered = False
        self.url = ""

    def add(self, version: str, content: bytes) -> None:
        self.files[version] = {f"envtest-{version}-linux-amd64.tar.gz": content}

    async def index(self, _request: web.Request) -> web.Response:
        releases = {
            version: {
                name: {"hash": hashlib.sha512(content).hexdigest(), "selfLink": f"{self.url}/{version}/{name}"}
                for name, content in files.items()
            }
            for version, files in self.files.items()
        }
        return web.json_response({"releases": releases})  # JSON is YAML too

    async def download(self, request: web.Request) -> web.Response:
        content = self.files[request.match_info["version"]][request.match_info["name"]]
        return web.Response(body=content + b"!" if self.tampered else content)


@pytest.fixture
async def releases() -> AsyncIterator[Releases]:
    releases, application = Releases(), web.Application()
    application.add_routes([web.get("/index", releases.index), web.get("/{version}/{name}", releases.download)])
    async with TestServer(application) as server:
        releases.url = f"http://127.0.0.1:{server.port}"
        yield releases


async def test_nearest_release_is_fetched_checked_and_kept(tmp_path: Path, releases: Releases) -> None:
    """The newest of our minor version, no pre-release and nothing newer; the second time the network is not needed."""
    for version in ("v1.35.9", "v1.36.0", "v1.36.2", "v1.36.3-rc.1", "v1.37.0"):
        releases.add(version, archive("etcd", "kube-apiserver", "kubectl"))
    found = await envtest.fetch(tmp_path, "1.36.3", LINUX, nothing, f"{releases.url}/index")
    assert found.version == "1.36.2"
    assert [path.read_text() for path in found.paths] == ["etcd", "kube-apiserver"]
    assert all(os.access(path, os.X_OK) for path in found.paths)
    assert await envtest.fetch(tmp_path, "1.36.3", LINUX, nothing, "http://127.0.0.1:1") == found


async def test_archive_that_is_not_the_one_named_is_refused(tmp_path: Path, releases: Releases) -> None:
    """An archive with another digest is not unpacked, and leaves nothing behind."""
    releases.add("v1.36.0", archive("etcd", "kube-apiserver"))
    releases.tampered = True
    with pytest.raises(envtest.UnavailableError, match="SHA-512"):
        await envtest.fetch(tmp_path, "1.36.3", LINUX, nothing, f"{releases.url}/index")
    assert os.listdir(tmp_path) == []


async def test_incomplete_archive_and_other_machines_are_said(tmp_path: Path, releases: Releases) -> None:
    """An archive without kube-apiserver, and a machine that there is none for, are named."""
    releases.add("v1.36.0", archive("etcd"))
    with pytest.raises(envtest.UnavailableError, match="lacks etcd or kube-apiserver"):
        await envtest.fetch(tmp_path, "1.36.3", LINUX, nothing, f"{releases.url}/index")
    with pytest.raises(envtest.UnavailableError, match="none for darwin-arm64"):
        await envtest.fetch(tmp_path, "1.36.3", ("darwin", "arm64"), nothing, f"{releases.url}/index")


async def test_kubernetes_own_binaries_make_a_control_plane(tmp_path: Path) -> None:
    """etcd and kube-apiserver side by side start, keep their state, and say that the collectors are missing."""
    assets = os.environ.get("KUBEBUILDER_ASSETS")
    binaries = Binaries.beside_each_other(Path(assets), "from KUBEBUILDER_ASSETS", "1.36") if assets else None
    if binaries is None:
        pytest.skip("control plane of two programs: KUBEBUILDER_ASSETS names no folder with etcd and kube-apiserver")
    processes, said = Processes(), list[str]()
    try:
        for _ in range(2):
            plane = await ControlPlane.start(processes, tmp_path, progress=said.append, binaries=binaries)
            assert not plane.has_collectors
            await plane.stop()
        assert said == [Binaries.NO_COLLECTORS] * 2
    finally:
        await processes.close()


def test_machine_has_gos_names() -> None:
    """The system and architecture are called as Go and the archives call them."""
    assert machine()[0] in ("linux", "darwin")
    assert machine()[1] in ("amd64", "arm64", "ppc64le", "s390x")
