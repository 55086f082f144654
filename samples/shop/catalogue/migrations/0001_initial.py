import catalogue.models
from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True
    dependencies = []
    operations = [
        migrations.CreateModel(
            name="Product",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("name", models.CharField(max_length=100, unique=True)),
                ("price", models.DecimalField(decimal_places=2, max_digits=8)),
                ("picture", models.FileField(blank=True, upload_to="pictures/")),
                ("document", models.FileField(blank=True, storage=catalogue.models.documents, upload_to="")),
            ],
            options={"ordering": ["name"]},
        ),
    ]
