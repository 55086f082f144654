"""What our scripts in the app's own image have in common; the blueprint puts it before each of them.

They ride as the argument of `python -c` and know nothing but Django (3.2 or later) and the environment.
"""

import importlib.util
import json
import os
import re
import shutil
import sys


def settings_module():
    """The environment's, else the default in manage.py; imports start beside it, as when Python runs that file."""
    manage = os.environ.get("NUAGES_MANAGE", "manage.py")
    sys.path.insert(0, os.path.dirname(os.path.abspath(manage)))
    if importlib.util.find_spec("django") is None:
        remedy = "Use an image that has it, or set django.manage."
        tell("DjangoMissing", f"spec.image: {NAME} found no Django in the image's Python. {remedy}", 17)
    if not os.environ.get("DJANGO_SETTINGS_MODULE"):
        source = ""
        if os.path.exists(manage):
            with open(manage) as file:
                source = file.read()
        elif shutil.which(manage) is None:  # not a command like django-admin either
            cause = f"{NAME} found no {manage} in {os.getcwd()}"
            remedy = "Correct the path, or set spec.django.settingsModule."
            tell("SettingsModuleMissing", f"spec.django.manage: {cause}. {remedy}", 14)
        found = re.search(r"DJANGO_SETTINGS_MODULE[\"']\s*,\s*[\"']([\w.]+)", source)
        if not found:
            cause = f"{NAME} found no settings named in {manage}"
            tell("SettingsModuleMissing", f"spec.django.settingsModule: {cause}. Set it.", 14)
        os.environ["DJANGO_SETTINGS_MODULE"] = found.group(1)


def tell(reason, message, code, **more):
    """The verdict: one line for the log, and the exit code."""
    severity = "ERROR" if code else "INFO"
    line = {"nuages": NAME, "severity": severity, "reason": reason, "message": message, **more}
    print(json.dumps(line), flush=True)
    sys.exit(code)
