import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

PAYMENT_ENDPOINT = os.environ["PAYMENT_ENDPOINT"]  # nobody sets it

application = get_wsgi_application()
