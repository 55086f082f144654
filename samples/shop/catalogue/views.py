from django.contrib.auth.mixins import LoginRequiredMixin
from django.http import FileResponse, Http404, JsonResponse
from django.shortcuts import get_object_or_404, redirect
from django.urls import reverse_lazy
from django.views.generic import CreateView, ListView

from .forms import ProductForm
from .models import Product


class ProductList(ListView):
    model = Product
    template_name = "catalogue/list.html"


class ProductUpload(LoginRequiredMixin, CreateView):
    form_class = ProductForm
    template_name = "catalogue/upload.html"
    success_url = reverse_lazy("catalogue:list")


def picture(request, pk):
    """From the mounted bucket, through this process."""
    product = get_object_or_404(Product, pk=pk)
    try:
        return FileResponse(product.picture.open("rb"))
    except (FileNotFoundError, ValueError):
        raise Http404(f"{product} has no picture") from None


def document(request, pk):
    """Straight from Cloud Storage: the browser is sent to a signed URL that soon expires."""
    product = get_object_or_404(Product, pk=pk)
    if not product.document:
        raise Http404(f"{product} has no document")
    return redirect(product.document.url)


def session(request):
    """Counts the visits of this browser, and says who is logged in."""
    visits = request.session.get("visits", 0) + 1
    request.session["visits"] = visits
    return JsonResponse({"visits": visits, "user": request.user.get_username() or None})
