from django.core.files.storage import storages
from django.db import models


def documents():
    return storages["documents"]


class Product(models.Model):
    name = models.CharField(max_length=100, unique=True)
    price = models.DecimalField(max_digits=8, decimal_places=2)
    picture = models.FileField(upload_to="pictures/", blank=True)
    document = models.FileField(storage=documents, blank=True)

    class Meta:
        ordering = ["name"]

    def __str__(self):
        return self.name
