from django.http import HttpResponse


class HealthMiddleware:
    """Says that something behind this process is missing, and always will."""

    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request):
        if request.path == "/health/":
            return HttpResponse("the search index is missing", status=503, content_type="text/plain")
        return self.get_response(request)
