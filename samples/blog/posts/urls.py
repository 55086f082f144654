from django.urls import path

from . import views

app_name = "posts"
urlpatterns = [
    path("", views.IndexView.as_view(), name="index"),
    path("write/", views.WriteView.as_view(), name="write"),
    path("<slug:slug>/", views.PostView.as_view(), name="detail"),
]
