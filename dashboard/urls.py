"""Where the pages are."""

from django.contrib.auth.views import LoginView, LogoutView
from django.urls import path

from dashboard import views

app_name = "dashboard"
urlpatterns = [
    path("", views.models, name="models"),
    path(
        "login/",
        LoginView.as_view(template_name="dashboard/login.html", redirect_authenticated_user=True),
        name="login",
    ),
    path("logout/", LogoutView.as_view(), name="logout"),
    path("models/<str:model_id>/", views.inferences, name="inferences"),
    path("models/<str:model_id>/inferences/<str:inference_id>/", views.inference, name="inference"),
    path("models/<str:model_id>/inferences/<str:inference_id>/thumbnail", views.thumbnail, name="thumbnail"),
    path("models/<str:model_id>/inferences/<str:inference_id>/excerpt", views.excerpt, name="excerpt"),
    path("models/<str:model_id>/inferences/<str:inference_id>/input", views.download, name="download"),
]
