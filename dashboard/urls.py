"""Where the pages are."""

from django.contrib.auth.views import LoginView
from django.urls import path

from dashboard import (
    audit_views,
    chart_views,
    explore_views,
    export_views,
    inference_views,
    map_views,
    project_views,
    retention_views,
    saved_views,
    selection_views,
    single_sign_on,
    token_views,
    views,
)

app_name = "dashboard"
PROJECT = "projects/<str:project_id>/"
INFERENCE = "models/<str:model_id>/inferences/<str:inference_id>/"
urlpatterns = [
    path("", views.models, name="models"),
    path("favicon.ico", views.favicon, name="favicon"),
    path("help/", views.help_page, name="help"),
    path(
        "login/",
        LoginView.as_view(template_name="dashboard/login.html", redirect_authenticated_user=True),
        name="login",
    ),
    path("login/oidc/", single_sign_on.begin, name="oidc_sign_in"),
    path("login/oidc/callback", single_sign_on.callback, name="oidc_callback"),
    path("logout/", single_sign_on.sign_out, name="logout"),
    path("tokens/", token_views.tokens, name="tokens"),
    path("tokens/new", token_views.new_token, name="new_token"),
    path("tokens/<int:token_id>/revoke", token_views.revoke_token, name="revoke_token"),
    path("projects/", project_views.projects, name="projects"),
    path("projects/new", project_views.new_project, name="new_project"),
    path(PROJECT, project_views.project, name="project"),
    path(f"{PROJECT}name", project_views.rename_project, name="rename_project"),
    path(f"{PROJECT}members", project_views.add_member, name="add_member"),
    path(f"{PROJECT}members/<int:user_id>", project_views.set_role, name="set_role"),
    path(f"{PROJECT}members/<int:user_id>/remove", project_views.remove_member, name="remove_member"),
    path("models/<str:model_id>/", views.inferences, name="inferences"),
    path("models/<str:model_id>/count", explore_views.count, name="count"),
    path("models/<str:model_id>/suggestions", explore_views.suggestions, name="suggestions"),
    path("models/<str:model_id>/code", explore_views.code, name="code"),
    path("models/<str:model_id>/vector", explore_views.paste_vector, name="paste_vector"),
    path("models/<str:model_id>/selection", selection_views.selection, name="selection"),
    path("models/<str:model_id>/selection/delete", selection_views.delete_selection, name="delete_selection"),
    path("models/<str:model_id>/views/", saved_views.saved_views, name="saved_views"),
    path("views/<uuid:view_id>/", saved_views.open_view, name="open_view"),
    *(
        path(
            f"views/<uuid:view_id>/{change}",
            saved_views.change_view,
            {"change": change},
            name=f"{change}_view",
        )
        for change in ("rename", "share", "unshare", "delete")
    ),
    path(INFERENCE, inference_views.inference, name="inference"),
    path(f"{INFERENCE}thumbnail", inference_views.thumbnail, name="thumbnail"),
    path(f"{INFERENCE}entries/<int:position>/crop", inference_views.crop, name="crop"),
    path(f"{INFERENCE}excerpt", inference_views.excerpt, name="excerpt"),
    path(f"{INFERENCE}input", inference_views.download, name="download"),
    path(f"{INFERENCE}neighbours", inference_views.neighbours, name="neighbours"),
    path(f"{INFERENCE}metadata", inference_views.put_metadata, name="put_metadata"),
    path(f"{INFERENCE}metadata/delete", inference_views.delete_metadata, name="delete_metadata"),
    path(f"{INFERENCE}protection", inference_views.set_protection, name="set_protection"),
    path(f"{INFERENCE}delete", inference_views.delete_inference, name="delete_inference"),
    path("models/<str:model_id>/charts/", chart_views.charts, name="charts"),
    path("models/<str:model_id>/charts/one", chart_views.chart, name="chart"),
    path("models/<str:model_id>/charts/narrow", chart_views.narrow, name="narrow"),
    path("models/<str:model_id>/map/cells", map_views.cells, name="map_cells"),
    path("models/<str:model_id>/map/circle", map_views.circle, name="map_circle"),
    path("models/<str:model_id>/exports/", export_views.exports, name="exports"),
    path("models/<str:model_id>/exports/new", export_views.new_export, name="new_export"),
    path("models/<str:model_id>/exports/progress", export_views.export_progress, name="export_progress"),
    path("models/<str:model_id>/exports/<str:export_id>/stop", export_views.stop_export, name="stop_export"),
    path(
        "models/<str:model_id>/exports/<str:export_id>/download",
        export_views.download_export,
        name="download_export",
    ),
    path("models/<str:model_id>/audit/", audit_views.model_audit, name="model_audit"),
    path("projects/<str:project_id>/audit/", audit_views.project_audit, name="project_audit"),
    path(
        "projects/<str:project_id>/audit/records.<str:kind>",
        audit_views.download_audit,
        name="download_audit",
    ),
    path("models/<str:model_id>/retention/", retention_views.retention, name="retention"),
    path(
        "models/<str:model_id>/retention/progress",
        retention_views.retention_progress,
        name="retention_progress",
    ),
    path("models/<str:model_id>/retention/policies", retention_views.create_policy, name="create_policy"),
    path(
        "models/<str:model_id>/retention/policies/<str:policy_id>/delete",
        retention_views.delete_policy,
        name="delete_policy",
    ),
    path("models/<str:model_id>/retention/tasks", retention_views.create_task, name="create_task"),
    path(
        "models/<str:model_id>/retention/tasks/<str:task_id>/",
        retention_views.retention_task,
        name="retention_task",
    ),
    path(
        "models/<str:model_id>/retention/tasks/<str:task_id>/progress",
        retention_views.task_progress,
        name="task_progress",
    ),
    path(
        "models/<str:model_id>/retention/tasks/<str:task_id>/take",
        retention_views.take_preview,
        name="take_preview",
    ),
    path(
        "models/<str:model_id>/retention/tasks/<str:task_id>/stop",
        retention_views.stop_task,
        name="stop_task",
    ),
    path(
        "models/<str:model_id>/retention/tasks/<str:task_id>/preview.<str:kind>",
        retention_views.download_preview,
        name="download_preview",
    ),
]
