"""The cloud that every service sees: its state, time, operations, identities, and what really runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from localcloud.core.accounts import ServiceAccounts
from localcloud.core.clock import Clock
from localcloud.core.faults import Faults
from localcloud.core.identity import Tokens
from localcloud.core.keys import IdTokens, Keys
from localcloud.core.operations import Operations
from localcloud.core.policies import Policies
from localcloud.core.projects import Projects
from localcloud.core.quotas import Quotas
from localcloud.core.requests import RequestLog
from localcloud.core.state import Store

if TYPE_CHECKING:
    from localcloud.runtime.runtime import Runtime

S = TypeVar("S")


@dataclass
class Cloud:
    """Made once by localcloud.localcloud; services keep it and share their state through it."""

    dir: Path
    store: Store
    clock: Clock
    simulate: bool
    runtime: Runtime
    operations: Operations = field(init=False)
    tokens: Tokens = field(init=False)
    projects: Projects = field(init=False)
    policies: Policies = field(init=False)
    accounts: ServiceAccounts = field(init=False)
    quotas: Quotas = field(init=False)
    keys: Keys = field(init=False)
    id_tokens: IdTokens = field(init=False)
    faults: Faults = field(default_factory=Faults)
    requests: RequestLog = field(default_factory=RequestLog)
    _shared: dict[Any, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.operations = Operations(self.store, self.clock)
        self.tokens = Tokens(self.store)
        self.projects = Projects(self.store)
        self.policies = Policies(self.store, self.projects.canonical, self.clock)
        self.quotas = Quotas(self.projects, self.store.records("storage.buckets"), self.clock)
        self.accounts = ServiceAccounts(self.store, self.projects, self.clock)
        self.policies.validators.append(self.accounts.validate_member)
        self.keys = Keys(self.store)
        self.id_tokens = IdTokens(self.keys, self.accounts)

    def shared(self, kind: Callable[[Cloud], S]) -> S:
        """The one object of a class that several services of an API keep their state in; made at the first call."""
        if kind not in self._shared:
            self._shared[kind] = kind(self)
        made: S = self._shared[kind]
        return made
