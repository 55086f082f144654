from __future__ import annotations
import asyncio, uuid, json
import pytest
from e2e_world import open_world, conditions, Refused
from google.cloud.resourcemanager_v3 import ProjectsAsyncClient
from google.iam.v1 import iam_policy_pb2, policy_pb2
from localcloud import operator


def app(spec, name="shop"):
    return {"apiVersion": "nuages.dev/v1alpha1", "kind": "DjangoApp", "metadata": {"name": name}, "spec": spec}


async def project(world, name, roles):
    c = world.google(ProjectsAsyncClient)
    op = await c.create_project(request={"project": {"project_id": name}})
    await op.result()
    p = await c.get_iam_policy(request={"resource": f"projects/{name}"})
    for r in roles:
        p.bindings.append(
            policy_pb2.Binding(role=r, members=["serviceAccount:nuages-operator@nuages-e2e.iam.gserviceaccount.com"])
        )
    await c.set_iam_policy(request={"resource": f"projects/{name}", "policy": p})


async def test_explore(local, google_environment):
    site = local
    shop = await site.image("shop", "v1")
    async with open_world(site, "bad-0") as w:
        for name, roles in {
            "nuages-stranger": [],
            "nuages-poor": [r for r in operator.roles() if r != "roles/run.admin"],
            "nuages-noact": [r for r in operator.roles() if r != "roles/iam.serviceAccountUser"],
            "nuages-off": operator.roles(),
        }.items():
            await project(w, name, roles)
        adm = {
            "type": {"image": shop, "web": {"cpu": 1}},
            "type2": {"image": shop, "web": {"port": "8080"}},
            "type3": {"image": shop, "env": {"A": "b"}},
            "enum": {"image": shop, "web": {"access": "Everyone"}},
            "unknown": {"image": shop, "web": {"replicas": 3}},
            "notag": {"image": "europe-west1-docker.pkg.dev/acme/apps/shop"},
            "envres": {"image": shop, "env": [{"name": "SECRET_KEY", "value": "x"}]},
            "envport": {"image": shop, "env": [{"name": "PORT", "value": "x"}]},
            "envnames": {"image": shop, "django": {"envNames": {"DB_HOST": "PORT"}}},
            "envnames2": {
                "image": shop,
                "django": {"envNames": {"DB_HOST": "PGHOST"}},
                "env": [{"name": "PGHOST", "value": "x"}],
            },
            "envnames3": {"image": shop, "django": {"envNames": {"DB_HOST": "SECRET_KEY"}}},
            "media": {"image": shop, "storage": {"media": {"mountPath": "/"}}},
            "media2": {"image": shop, "storage": {"media": {"mountPath": "/usr"}}},
        }
        for k, spec in adm.items():
            try:
                await w.create(app(spec))
                print("ADM", k, "ACCEPTED")
            except Refused as e:
                print("ADM", k, e)
        for n in ("Shop_1", "a" * 41, "shop.eu"):
            try:
                await w.create(app({"image": shop}, n))
                print("ADM", n, "ACCEPTED")
            except Refused as e:
                print("ADM", n, e)
    T = lambda **k: {"project": site.project, "region": site.region, **k}
    cm = lambda **d: {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "env"}, "data": d}
    cases = {
        "tag": ({"image": shop.replace("v1", "v99")}, None),
        "host": ({"image": "registry.nowhere.invalid/apps/shop:v1"}, None),
        "denied": ({"image": f"{site.region}-docker.pkg.dev/nuages-stranger/apps/shop:v1"}, None),
        "ghcr": ({"image": f"localhost:5000/apps/shop:v1"}, None),
        "sql": ({"image": shop, "database": {"instance": {"existing": "acme-pg"}}}, T(allow={"instances": ["*"]})),
        "sqlt": ({"image": shop}, T(database={"existing": "acme-pg"})),
        "allowi": ({"image": shop, "database": {"instance": {"existing": "acme-pg"}}}, None),
        "allow": ({"image": shop}, T(allow={"images": ["other/**"]})),
        "stranger": ({"image": shop}, {**T(), "project": "nuages-stranger"}),
        "nosuch": ({"image": shop}, {**T(), "project": "nuages-nosuch"}),
        "poor": ({"image": shop}, {**T(), "project": "nuages-poor"}),
        "noact": ({"image": shop}, {**T(), "project": "nuages-noact"}),
        "off": ({"image": shop}, {**T(), "project": "nuages-off", "enableServices": False}),
        "imp": ({"image": shop}, T(impersonateServiceAccount="somebody@nuages-e2e.iam.gserviceaccount.com")),
        "ext": ({"image": shop, "database": {"extensions": ["pg_trigram"]}}, None),
        "secret": (
            {"image": shop, "env": [{"name": "STRIPE_KEY", "kubernetesSecret": {"name": "stripe", "key": "key"}}]},
            None,
        ),
        "cm": ({"image": shop, "envFrom": [{"configMap": {"name": "envx"}}]}, None),
        "cmport": ({"image": shop, "envFrom": [{"configMap": {"name": "env"}}]}, None),
        "gsecret": (
            {"image": shop, "env": [{"name": "STRIPE_KEY", "secret": {"name": "stripe", "version": "3"}}]},
            T(allow={"secrets": ["*"]}),
        ),
        "sa": (
            {"image": shop, "serviceAccount": {"existing": "nobody@nuages-e2e.iam.gserviceaccount.com"}},
            T(allow={"serviceAccounts": ["*"]}),
        ),
        "media": ({"image": shop, "storage": {"media": {"mountPath": "/app"}}}, None),
        "budget": ({"image": shop, "web": {"maxInstances": 30}}, None),
        "tier": ({"image": shop, "database": {"instance": {"create": {"tier": "db-custom-1-100"}}}}, None),
        "region": ({"image": shop}, {**T(), "region": "europe-nowhere1"}),
        "zone": ({"image": shop, "database": {"version": "99"}}, None),
    }

    async def one(k, spec, tenant):
        async with open_world(site, f"bad-{k}") as w:
            try:
                if tenant:
                    await w.apply(
                        {
                            "apiVersion": "nuages.dev/v1alpha1",
                            "kind": "DjangoTenant",
                            "metadata": {"name": "default"},
                            "spec": tenant,
                        }
                    )
                if k == "cmport":
                    await w.apply(cm(PORT="1", **{"app.properties": "x"}))
                await w.apply(app(spec))
                a = await w.wait("shop", "Stalled", timeout=60)
                print("CASE", k, conditions(a)["Stalled"]["reason"], conditions(a)["Stalled"]["message"])
            except BaseException as e:
                print("CASE", k, "FAIL", str(e)[:700])
            print("   EV", k, await w.events("shop"))
            print(
                "   WR",
                k,
                [(r.method, r.resource, r.status) for r in site.requests(w.namespace, "shop") if site.is_write(r)][:8],
            )

    await asyncio.gather(*(one(k, *v) for k, v in cases.items()))
    print(site.logs()["operator.log"][-3000:])
