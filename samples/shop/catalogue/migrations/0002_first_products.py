from decimal import Decimal

from django.db import migrations

PRODUCTS = {
    "Teapot": Decimal("24.50"),
    "Tin of Assam": Decimal("8.90"),
    "Tea strainer": Decimal("5.20"),
}


def add_products(apps, schema_editor):
    product = apps.get_model("catalogue", "Product")
    for name, price in PRODUCTS.items():
        product.objects.get_or_create(name=name, defaults={"price": price})


class Migration(migrations.Migration):
    dependencies = [("catalogue", "0001_initial")]
    operations = [migrations.RunPython(add_products, migrations.RunPython.noop)]
