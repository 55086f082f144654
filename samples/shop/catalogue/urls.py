from django.urls import path

from . import views

app_name = "catalogue"
urlpatterns = [
    path("", views.ProductList.as_view(), name="list"),
    path("upload/", views.ProductUpload.as_view(), name="upload"),
    path("products/<int:pk>/picture/", views.picture, name="picture"),
    path("products/<int:pk>/document/", views.document, name="document"),
    path("session/", views.session, name="session"),
]
