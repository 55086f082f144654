"""Where the scenarios run: a cluster with the operator in it, and a Google Cloud. Knows neither of the two kinds."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

PROJECT_VARIABLE = "NUAGES_TEST_PROJECT"
# How long an app may take to be Ready: a real project creates its SQL instance in 4 to 10 minutes, and more at times.
READY_S = 1800.0 if os.environ.get(PROJECT_VARIABLE) else 120.0


class Site(Protocol):
    """One for each worker of the test run."""

    @property
    def kubeconfig(self) -> Path:
        """Of the cluster's administrator."""

    @property
    def project(self) -> str:
        """The project's id."""

    @property
    def region(self) -> str:
        """Where apps are deployed."""

    @property
    def has_collectors(self) -> bool:
        """Whether a deleted namespace goes, with all in it; the control plane of Kubernetes' test archive keeps it."""

    @property
    def environment(self) -> Mapping[str, str]:
        """Variables that Google's own clients need to reach this Google Cloud."""

    def credentials(self) -> Any:
        """Of the project's owner, for Google's clients."""

    @property
    def operator_account(self) -> str:
        """The e-mail that the operator is to Google, or "" where nobody says."""

    async def image(self, name: str, version: str) -> str:
        """The reference of a sample, built and pushed: "shop", "v1"."""

    def origin(self, url: str) -> str:
        """What a person's browser opens for the URL in an app's status."""

    def logs(self) -> Mapping[str, str]:
        """What operator and cloud said last, for the report of a failure."""

    async def misdeeds(self, objects: Mapping[str, bytes]) -> list[str]:
        """What happened so far and never may: a secret's bytes in the wrong place, a request that RBAC denied.

        `objects`: what the API server has in a scenario's namespace, by kind, without the user's own Secrets.
        """


class RealSite:
    """A Google Cloud project, and a cluster with the operator installed from deploy/kustomize.

    NUAGES_TEST_PROJECT names the project, KUBECONFIG the cluster, NUAGES_TEST_REGISTRY the repository that holds the
    samples' images (default: REGION-docker.pkg.dev/PROJECT/apps), NUAGES_TEST_REGION the region, NUAGES_TEST_OPERATOR
    the operator's service account, for the scenarios where it impersonates another one.
    """

    has_collectors = True

    def __init__(self, project: str) -> None:
        self.project = project
        self.region = os.environ.get("NUAGES_TEST_REGION", "europe-west1")
        self.kubeconfig = Path(os.environ.get("KUBECONFIG") or Path.home() / ".kube" / "config")
        self.operator_account = os.environ.get("NUAGES_TEST_OPERATOR", "")
        default = f"{self.region}-docker.pkg.dev/{project}/apps"
        self._registry = os.environ.get("NUAGES_TEST_REGISTRY", default)

    def unreachable(self) -> str:
        """Why no scenario can run here, or ""."""
        import google.auth
        from google.auth.exceptions import DefaultCredentialsError

        if not self.kubeconfig.is_file():
            return f"{PROJECT_VARIABLE} is set, but there is no kubeconfig at {self.kubeconfig}"
        try:
            google.auth.default()
        except DefaultCredentialsError:
            return f"{PROJECT_VARIABLE} is set, but there are no Google credentials"
        return ""

    @property
    def environment(self) -> Mapping[str, str]:
        return {}

    def credentials(self) -> Any:
        import google.auth

        return google.auth.default(scopes=["https://www.googleapis.com/auth/cloud-platform"])[0]

    async def image(self, name: str, version: str) -> str:
        return f"{self._registry}/{name}:{version}"

    def origin(self, url: str) -> str:
        return url

    def logs(self) -> Mapping[str, str]:
        return {}

    async def misdeeds(self, objects: Mapping[str, bytes]) -> list[str]:
        return []  # its secrets are its owner's, and so is the cluster's audit log
