"""`spec.web`, `spec.jobs`, `spec.django`, `spec.env`: what runs, and with which settings."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from nuages.api import defaults, values
from nuages.api.contract import CONTRACT
from nuages.api.lists import SET
from nuages.api.resources import JOB_SIZES, WEB_SIZES, memory_fits_cpu
from nuages.api.rules import Part, Rule, given


class Django(Part):
    """What Nuages must know of the Django project."""

    rules = (
        Rule(
            cel=f"!has(self.envNames) || self.envNames.all(k, k in {values.one_of(CONTRACT)})",
            message="Renames a variable that Nuages does not set. Use the names of the environment contract as keys.",
            check=lambda django: set(django.env_names) <= set(CONTRACT),
            field="envNames",
        ),
        Rule(
            cel="!has(self.envNames) || self.envNames.all(k, self.envNames.exists_one(j, "
            "self.envNames[j] == self.envNames[k]) && "
            f"(!(self.envNames[k] in {values.one_of(CONTRACT)}) || self.envNames[k] in self.envNames))",
            message="Two variables would bear the same name. Give each its own.",
            check=lambda django: _renamed_apart(django.env_names),
            field="envNames",
        ),
    )

    settings_module: values.SettingsModule | None = Field(
        None, description="DJANGO_SETTINGS_MODULE. Default: the image's own."
    )
    manage: Annotated[values.Words, Field(min_length=1)] = Field(
        defaults.MANAGE, description="The command that runs manage.py. Default: python manage.py."
    )
    health_path: values.Path = Field(
        defaults.HEALTH_PATH, description="Path that the probes call; it should not touch the database."
    )
    allowed_hosts: Annotated[tuple[values.Host, ...], Field(max_length=64), SET] = Field(
        (), description="Hosts besides the discovered ones (run.app URLs and the candidate's)."
    )
    csrf_trusted_origins: Annotated[tuple[values.Origin, ...], Field(max_length=64), SET] = Field(
        (), description="Origins, with scheme, besides the discovered ones."
    )
    cors_allowed_origins: Annotated[tuple[values.Origin, ...], Field(max_length=64), SET] = Field(
        (), description="Origins for CORS_ALLOWED_ORIGINS."
    )
    env_names: Annotated[dict[str, values.VariableName], Field(max_length=len(CONTRACT))] = Field(
        {}, description="Renames variables of the environment contract, such as SECRET_KEY: DJANGO_SECRET_KEY."
    )


def _renamed_apart(names: dict[str, str]) -> bool:
    kept = set(CONTRACT) - set(names)
    return len(set(names.values())) == len(names) and not kept & set(names.values())


class SecretReference(Part):
    """A version of a secret in the tenant's Secret Manager; the tenant must allow it."""

    name: values.SecretName = Field(description="Short name of the secret.")
    version: values.SecretVersion = Field(description="Version number.")


class KubernetesSecretReference(Part):
    """A key of a Secret of the namespace, copied to Secret Manager and pinned."""

    name: values.KubernetesName = Field(description="Name of the Secret.")
    key: values.SecretKey = Field(description="Key in the Secret.")


class Variable(Part):
    """An environment variable of the app, with exactly one source."""

    rules = (
        Rule(
            cel="[has(self.value), has(self.secret), has(self.kubernetesSecret)].exists_one(x, x)",
            message="Has not exactly one source. Give one of value, secret and kubernetesSecret.",
            check=lambda variable: [variable.value, variable.secret, variable.kubernetes_secret].count(None) == 2,
        ),
        Rule(  # of the object: a rule of the string would tell the value
            cel=r"!has(self.value) || !self.value.contains('\u0000')",
            message=values.NUL_REFUSED,
            check=lambda variable: "\0" not in (variable.value or ""),
            field="value",
        ),
        Rule(
            cel=f"!has(self.value) || bytes(self.value).size() <= {values.LARGEST_VARIABLE}",
            message=f"Has more than the {values.LARGEST_VARIABLE} bytes that Cloud Run takes. Shorten it.",
            check=lambda variable: len((variable.value or "").encode(errors="replace")) <= values.LARGEST_VARIABLE,
            field="value",
        ),
    )

    name: values.VariableName = Field(description="Name of the variable.")
    value: Annotated[str, Field(max_length=values.LARGEST_VARIABLE)] | None = Field(
        None, repr=False, description="Plain value; not for secrets."
    )
    secret: SecretReference | None = Field(None, description="From Secret Manager.")
    kubernetes_secret: KubernetesSecretReference | None = Field(None, description="From a Secret of the namespace.")


class ConfigMapReference(Part):
    """A ConfigMap of the namespace."""

    name: values.KubernetesName = Field(description="Name of the ConfigMap.")


class VariableSource(Part):
    """Variables from elsewhere; entries of spec.env win."""

    config_map: ConfigMapReference = Field(description="All keys of a ConfigMap of the namespace.")


class Probe(Part):
    """A probe of spec.django.healthPath by HTTP."""

    initial_delay_seconds: int
    period_seconds: int
    failure_threshold: int
    timeout_seconds: int | None

    @property
    def timeout(self) -> int:
        """Seconds that one call may take."""
        return self.timeout_seconds or min(self.period_seconds, defaults.PROBE_TIMEOUT_AT_MOST_SECONDS)


def _timeout_within(period: int) -> Rule:
    return Rule(
        cel=f"!has(self.timeoutSeconds) || self.timeoutSeconds <= {given('periodSeconds', period)}",
        message="Is longer than periodSeconds, which Cloud Run refuses. Shorten it.",
        check=lambda probe: probe.timeout_seconds is None or probe.timeout_seconds <= probe.period_seconds,
        field="timeoutSeconds",
    )


_TIMEOUT = "Seconds for one call. Default: the period, at most 5."


class StartupProbe(Probe):
    """When a new instance counts as started; healthPath is called."""

    rules = (
        _timeout_within(defaults.STARTUP_PERIOD_SECONDS),
        Rule(
            cel=f"{given('periodSeconds', defaults.STARTUP_PERIOD_SECONDS)} * "
            f"{given('failureThreshold', defaults.STARTUP_FAILURE_THRESHOLD)} <= 240",
            message="periodSeconds times failureThreshold is over Cloud Run's 240 s. Lower one, or use "
            "initialDelaySeconds.",
            check=lambda probe: probe.period_seconds * probe.failure_threshold <= 240,
            field="failureThreshold",
        ),
    )

    initial_delay_seconds: int = Field(
        defaults.STARTUP_INITIAL_DELAY_SECONDS, ge=0, le=240, description="Seconds before the first call."
    )
    period_seconds: int = Field(
        defaults.STARTUP_PERIOD_SECONDS, ge=1, le=240, description="Seconds between calls. Default: 5."
    )
    failure_threshold: int = Field(
        defaults.STARTUP_FAILURE_THRESHOLD, ge=1, le=240, description="Failures that end the instance. Default: 18."
    )
    timeout_seconds: Annotated[int, Field(ge=1, le=240)] | None = Field(None, description=_TIMEOUT)


class LivenessProbe(Probe):
    """When a running instance is replaced; healthPath is called."""

    rules = (_timeout_within(defaults.LIVENESS_PERIOD_SECONDS),)

    initial_delay_seconds: int = Field(
        defaults.LIVENESS_INITIAL_DELAY_SECONDS, ge=0, le=3600, description="Seconds before the first call."
    )
    period_seconds: int = Field(
        defaults.LIVENESS_PERIOD_SECONDS, ge=1, le=3600, description="Seconds between calls. Default: 30."
    )
    failure_threshold: int = Field(
        defaults.LIVENESS_FAILURE_THRESHOLD, ge=1, le=240, description="Failures that end the instance. Default: 3."
    )
    timeout_seconds: Annotated[int, Field(ge=1, le=3600)] | None = Field(None, description=_TIMEOUT)


class Web(Part):
    """The Cloud Run service."""

    rules = (
        memory_fits_cpu(WEB_SIZES, defaults.CPU, defaults.MEMORY),
        Rule(
            cel=f"!{given('cpu', defaults.CPU)}.startsWith('0') || {given('concurrency', defaults.CONCURRENCY)} == 1",
            message='Cloud Run takes less than one cpu with a concurrency of 1 only. Set it to 1, or cpu to "1".',
            check=lambda web: not web.cpu.startswith("0") or web.concurrency == 1,
            field="concurrency",
        ),
        Rule(
            cel=f"!{given('cpu', defaults.CPU)}.startsWith('0') || "
            f"!{given('cpuAlwaysAllocated', defaults.CPU_ALWAYS_ALLOCATED)}",
            message='Cloud Run always allocates whole cpus only. Set cpu to "1" or more, or leave this false.',
            check=lambda web: not web.cpu.startswith("0") or not web.cpu_always_allocated,
            field="cpuAlwaysAllocated",
        ),
        Rule(
            cel=f"{given('minInstances', defaults.MIN_INSTANCES)} <= {given('maxInstances', defaults.MAX_INSTANCES)}",
            message="Is more than maxInstances. Lower it, or raise maxInstances (3 by default).",
            check=lambda web: web.min_instances <= web.max_instances,
            field="minInstances",
        ),
        Rule(
            cel=f"!has(self.invokers) || self.invokers.size() == 0 || {given('access', defaults.ACCESS)} != 'Public'",
            message="Has no effect while access is Public. Set access: Authenticated, or remove the invokers.",
            check=lambda web: not web.invokers or web.access != "Public",
            field="invokers",
        ),
    )

    command: values.Words = Field((), description="Replaces the image's entry point.")
    args: values.Words = Field((), description="Replaces the image's arguments.")
    port: int = Field(defaults.PORT, ge=1, le=65535, description="Port that the container listens on. Default: 8080.")
    cpu: values.WebCpu = Field(defaults.CPU, description='CPUs of an instance: "1", "2", "4", "6", "8" or less than 1.')
    memory: values.Memory = Field(defaults.MEMORY, description="Memory of an instance. Default: 1Gi.")
    min_instances: int = Field(defaults.MIN_INSTANCES, ge=0, le=1000, description="Instances kept warm. Default: 0.")
    max_instances: int = Field(defaults.MAX_INSTANCES, ge=1, le=1000, description="Instances at most. Default: 3.")
    concurrency: int = Field(
        defaults.CONCURRENCY, ge=1, le=1000, description="Requests that an instance takes at once. Default: 80."
    )
    timeout_seconds: int = Field(
        defaults.REQUEST_TIMEOUT_SECONDS, ge=1, le=3600, description="Longest request. Default: 300."
    )
    cpu_always_allocated: bool = Field(
        defaults.CPU_ALWAYS_ALLOCATED, description="CPU between requests too, for background threads."
    )
    startup_cpu_boost: bool = Field(defaults.STARTUP_CPU_BOOST, description="More CPU while starting. Default: true.")
    startup_probe: StartupProbe = Field(StartupProbe(), description="When an instance counts as started.")
    liveness_probe: LivenessProbe = Field(LivenessProbe(), description="When an instance is replaced.")
    access: Literal["Public", "Authenticated"] = Field(
        defaults.ACCESS, description="Who may call: everyone, or invokers with an ID token."
    )
    invokers: Annotated[tuple[values.Member, ...], Field(max_length=64), SET] = Field(
        (), description="IAM members that may call, where access is Authenticated."
    )
    ingress: Literal["All", "Internal", "InternalAndLoadBalancer"] = Field(
        defaults.INGRESS, description="Networks that requests may come from."
    )


class Jobs(Part):
    """Sizes of the app's jobs: migrate, superuser."""

    rules = (memory_fits_cpu(JOB_SIZES, defaults.JOB_CPU, defaults.JOB_MEMORY),)

    cpu: values.JobCpu = Field(defaults.JOB_CPU, description='CPUs: "1", "2", "4", "6" or "8".')
    memory: values.Memory = Field(defaults.JOB_MEMORY, description="Memory. Default: 1Gi.")
    timeout_seconds: int = Field(
        defaults.JOB_TIMEOUT_SECONDS, ge=1, le=604800, description="Longest run. Default: 1800."
    )
