from django.db import migrations


def create_home_page(apps, schema_editor):
    """In place of the page that Wagtail's own first migration made; the site leads to it."""
    Page = apps.get_model("wagtailcore.Page")
    content_types = apps.get_model("contenttypes.ContentType").objects
    page_type = content_types.get(model="page", app_label="wagtailcore")
    Page.objects.filter(content_type=page_type, slug="home", depth=2).delete()
    home_type, _ = content_types.get_or_create(model="homepage", app_label="home")
    home_page = apps.get_model("home.HomePage").objects.create(
        title="Home",
        draft_title="Home",
        slug="home",
        content_type=home_type,
        path="00010001",
        depth=2,
        numchild=0,
        url_path="/home/",
    )
    apps.get_model("wagtailcore.Site").objects.create(hostname="localhost", root_page=home_page, is_default_site=True)


class Migration(migrations.Migration):
    run_before = [("wagtailcore", "0053_locale_model")]
    dependencies = [("home", "0001_initial")]
    operations = [migrations.RunPython(create_home_page, migrations.RunPython.noop)]
