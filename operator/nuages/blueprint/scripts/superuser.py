"""The superuser, where there is none of that name yet. Runs after prelude.py, in one program with it.

Found before it is made: a database that was retained has the superuser of the app's earlier life, whose password may
have been changed since; and a lost answer must not make the second try fail.
"""

NAME = "superuser"
FOUND = 93  # no command of anybody's ends so by chance; reconcile/release/superuser.py knows it too


def main():
    settings_module()
    import django
    from django.contrib.auth import get_user_model
    from django.contrib.auth.hashers import check_password
    from django.core.management import execute_from_command_line

    django.setup()
    model, name = get_user_model(), os.environ["DJANGO_SUPERUSER_USERNAME"]
    field = model.USERNAME_FIELD
    wanted = os.environ.get("DJANGO_SUPERUSER_EMAIL", name) if field == model.get_email_field_name() else name
    login = os.environ.get(f"DJANGO_SUPERUSER_{field.upper()}", wanted)  # as createsuperuser has it
    found = model._default_manager.filter(**{field: login}).first()
    if found is not None and check_password(os.environ["DJANGO_SUPERUSER_PASSWORD"], getattr(found, "password", "")):
        tell("SuperuserExists", f"superuser: {login} is there already, with this password.", 0)
    if found is not None:
        message = f"superuser: {login} is there already, with another password, which was not changed."
        tell("SuperuserExists", message, FOUND, severity="WARNING")
    execute_from_command_line(["manage.py", *json.loads(os.environ["NUAGES_SUPERUSER_COMMAND"])])
    tell("SuperuserCreated", f"superuser: {login} was created.", 0)


main()
