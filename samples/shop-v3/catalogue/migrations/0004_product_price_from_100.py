from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("catalogue", "0003_product_stock")]
    operations = [
        # Every product that is there costs less: the database refuses.
        migrations.AddConstraint(
            "product",
            models.CheckConstraint(condition=models.Q(price__gte=100), name="product_price_from_100"),
        ),
    ]
