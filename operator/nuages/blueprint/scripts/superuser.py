"""The superuser, where there is none of that name yet. Runs after prelude.py, in one program with it.

Found before it is made: a database that was retained has the superuser of the app's earlier life, whose password may
have been changed since; and a lost answer must not make the second try fail.
"""

NAME = "superuser"


def main():
    settings_module()
    import django
    from django.contrib.auth import get_user_model
    from django.core.management import execute_from_command_line

    django.setup()
    model, name = get_user_model(), os.environ["DJANGO_SUPERUSER_USERNAME"]
    field = model.USERNAME_FIELD
    value = os.environ.get("DJANGO_SUPERUSER_EMAIL", name) if field == model.get_email_field_name() else name
    if model._default_manager.filter(**{field: value}).exists():
        tell("SuperuserExists", f"superuser: {name} is there already.", 0)
    execute_from_command_line(["manage.py", *json.loads(os.environ["NUAGES_SUPERUSER_COMMAND"])])
    tell("SuperuserCreated", f"superuser: {name} was created.", 0)


main()
