"""Apps of any shape survive being written and read."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from nuages.api import parse_app

NAMES = st.from_regex(r"[A-Z]{3}_VAR[0-9]{0,3}", fullmatch=True)
TEXT = st.characters(exclude_characters="\0", exclude_categories=["Cs"])
VALUES = st.text(TEXT, max_size=50)
SOURCES = st.one_of(
    st.fixed_dictionaries({"value": VALUES}),
    st.fixed_dictionaries({"secret": st.just({"name": "stripe", "version": "3"})}),
    st.fixed_dictionaries({"kubernetesSecret": st.just({"name": "openai", "key": "token"})}),
)
ENV = st.dictionaries(NAMES, SOURCES, max_size=5).map(
    lambda sources: [{"name": name, **source} for name, source in sources.items()]
)
WEB = st.fixed_dictionaries(
    {},
    optional={
        "port": st.integers(1, 65535),
        "concurrency": st.integers(1, 1000),
        "maxInstances": st.integers(1, 1000),
        "startupCpuBoost": st.booleans(),
        "ingress": st.sampled_from(["All", "Internal", "InternalAndLoadBalancer"]),
        "args": st.lists(st.text(TEXT, max_size=20), max_size=4),
        "startupProbe": st.fixed_dictionaries({}, optional={"failureThreshold": st.integers(1, 48)}),
    },
)
CREATE = st.fixed_dictionaries(
    {},
    optional={
        "storageGiB": st.integers(10, 100),
        "availability": st.sampled_from(["Zonal", "Regional"]),
        "flags": st.dictionaries(st.sampled_from(["work_mem", "max_connections"]), st.text(max_size=8)),
        "backups": st.fixed_dictionaries({}, optional={"retained": st.integers(1, 365)}),
    },
)
DATABASE = st.fixed_dictionaries(
    {},
    optional={
        "version": st.sampled_from(["15", "16", "17"]),
        "instance": st.one_of(st.just({"existing": "acme-pg"}), CREATE.map(lambda create: {"create": create})),
        "extensions": st.lists(st.sampled_from(["hstore", "citext", "uuid-ossp"]), unique=True),
    },
)
SPEC = st.fixed_dictionaries(
    {"image": st.just("gcr.io/acme/shop:v4")},
    optional={"env": ENV, "web": WEB, "database": DATABASE, "paused": st.booleans()},
)


@given(SPEC)
def test_what_is_written_is_read(spec: dict[str, Any]) -> None:
    """An app parsed from its own dump is the same, and so are its defaults written out."""
    app = parse_app(
        {"apiVersion": "nuages.dev/v1alpha1", "kind": "DjangoApp", "metadata": {"name": "shop"}, "spec": spec}
    )
    assert parse_app(json.loads(app.model_dump_json(by_alias=True, exclude_none=True))) == app
