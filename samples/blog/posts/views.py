from django.contrib.auth.mixins import LoginRequiredMixin
from django.views import generic

from .models import Post


class IndexView(generic.ListView):
    model = Post
    template_name = "posts/index.html"


class PostView(generic.DetailView):
    model = Post
    template_name = "posts/detail.html"


class WriteView(LoginRequiredMixin, generic.CreateView):
    model = Post
    fields = ["title", "slug", "body"]
    template_name = "posts/write.html"

    def form_valid(self, form):
        form.instance.author = self.request.user
        return super().form_valid(form)
