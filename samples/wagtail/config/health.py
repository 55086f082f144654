from django.http import HttpResponse


class HealthMiddleware:
    """Answers probes before anything else: without a host name, HTTPS or the database."""

    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request):
        if request.path == "/health/":
            return HttpResponse("ok", content_type="text/plain")
        return self.get_response(request)
