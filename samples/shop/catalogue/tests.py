from tempfile import TemporaryDirectory

from django.conf import settings
from django.contrib.auth.models import User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import TestCase, override_settings
from django.urls import reverse

from .models import Product


PLAIN_STATIC_FILES = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}  # no collectstatic needed


@override_settings(SECURE_SSL_REDIRECT=False, STORAGES={**settings.STORAGES, "staticfiles": PLAIN_STATIC_FILES})
class CatalogueTests(TestCase):
    def test_first_products_are_listed(self):
        self.assertContains(self.client.get(reverse("catalogue:list")), "Teapot")

    def test_health_needs_no_host_and_no_database(self):
        with self.assertNumQueries(0):
            response = self.client.get("/health/", headers={"host": "169.254.1.1"})
        self.assertEqual(response.status_code, 200)

    def test_strangers_cannot_upload(self):
        self.assertRedirects(
            self.client.get(reverse("catalogue:upload")),
            f"{reverse('admin:login')}?next={reverse('catalogue:upload')}",
        )

    def test_uploaded_picture_comes_back(self):
        self.client.force_login(User.objects.create_superuser("admin"))
        with self.settings(MEDIA_ROOT=self.enterContext(TemporaryDirectory())):
            picture = SimpleUploadedFile("cup.svg", b"<svg/>", "image/svg+xml")
            self.client.post(reverse("catalogue:upload"), {"name": "Cup", "price": "3.00", "picture": picture})
            product = Product.objects.get(name="Cup")
            response = self.client.get(reverse("catalogue:picture", args=[product.pk]))
            self.assertEqual(b"".join(response.streaming_content), b"<svg/>")
