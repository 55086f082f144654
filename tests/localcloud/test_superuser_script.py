"""The superuser job's script with a user model of a project's own: another login, and a field more that it requires."""

from __future__ import annotations

import asyncio
import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio
from child_support import output

from localcloud.runtime.builder import build
from localcloud.runtime.images import Image, ImageStore
from nuages.api.validate import fault_of_variable
from nuages.blueprint.web import script
from nuages.reconcile.release.superuser import FOUND

pytestmark = pytest.mark.asyncio(loop_scope="module")

SHOP = Path(__file__).parents[2] / "samples" / "shop"
DEADLINE_S = 120.0
GIVEN = {"USERNAME": "admin", "EMAIL": "root@acme.example", "PASSWORD": "a-password-for-tests"}
SETTINGS = """
SECRET_KEY = "x" * 50
INSTALLED_APPS = ["django.contrib.auth", "django.contrib.contenttypes", "people"]
AUTH_USER_MODEL = "people.Person"
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "people.sqlite3"}}
"""
MODELS = """
from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.db import models


class People(BaseUserManager):
    def create_superuser(self, email, department, password):
        person = self.model(email=email, department=department)
        person.set_password(password)
        person.save()


class Person(AbstractBaseUser):
    email = models.EmailField(unique=True)
    department = models.CharField(max_length=20)
    objects = People()
    USERNAME_FIELD, REQUIRED_FIELDS = "email", ["department"]
"""


@dataclass(frozen=True)
class Project:
    image: Image

    async def python(self, *args: str, **environment: str) -> tuple[int | None, str]:
        """How it ended, and what it wrote."""
        given = {"DJANGO_SETTINGS_MODULE": "people.settings", **environment}
        argv, env, home = self.image.command(given, command=["python"], args=list(args))
        child = await asyncio.create_subprocess_exec(
            *argv, env=env, cwd=home, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
        out, _ = await output(child, DEADLINE_S)
        return child.returncode, out.decode()

    async def superuser(self, **more: str) -> tuple[int | None, str]:
        """The exit code, and what its last line says."""
        names = {f"DJANGO_SUPERUSER_{name}": value for name, value in {**GIVEN, **more}.items()}
        command = json.dumps(["createsuperuser", "--noinput"])
        code, out = await self.python("-c", script("superuser"), NUAGES_SUPERUSER_COMMAND=command, **names)
        last = out.splitlines()[-1]
        return code, str(json.loads(last)["message"]) if last.startswith("{") else last


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    folder = tmp_path_factory.mktemp("superuser")
    people = folder / "source" / "people"
    people.mkdir(parents=True)
    for name in ("manage.py", "requirements.txt"):
        shutil.copy(SHOP / name, people.parent)
    (people.parent / "Dockerfile").write_text("FROM python:3.13\nCOPY . .\nRUN pip install -r requirements.txt\n")
    (people / "__init__.py").touch()
    (people / "settings.py").write_text(SETTINGS)
    (people / "models.py").write_text(MODELS)
    made = Project(await build(people.parent, "europe-west1-docker.pkg.dev/demo/apps/people:v1", ImageStore(folder)))
    assert (await made.python("manage.py", "migrate", "--run-syncdb"))[0] == 0
    return made


async def test_the_login_is_the_models_own(project: Project) -> None:
    """It is the e-mail address that is told, not the username; a field more is Django's to be given by its variable."""
    assert await project.superuser() == (1, "CommandError: You must use --department with --noinput.")
    assert fault_of_variable("DJANGO_SUPERUSER_DEPARTMENT", "it") == ""
    created = await project.superuser(DEPARTMENT="it")
    assert created == (0, "superuser: root@acme.example was created.")
    there = "superuser: root@acme.example is there already, with"
    assert await project.superuser(DEPARTMENT="it") == (0, f"{there} this password.")
    other = await project.superuser(DEPARTMENT="it", PASSWORD="another")
    assert other == (FOUND, f"{there} another password, which was not changed.")
