from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("catalogue", "0002_first_products")]
    operations = [
        migrations.AddField("product", "stock", models.PositiveIntegerField(blank=True, null=True)),
    ]
