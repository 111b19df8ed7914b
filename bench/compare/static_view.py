"""A web server with this store's settings and middleware, whose one view answers with the same bytes always.

The floor under any page of the same length: what is above it are the query and the encoding of its answer.
"""

import os
from pathlib import Path

import django
from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse
from django.urls import re_path
from django.views.decorators.csrf import csrf_exempt

FILE_VARIABLE = "BENCH_STATIC_FILE"

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "inference_store.settings")
settings.ROOT_URLCONF = __name__
django.setup()

content = Path(os.environ[FILE_VARIABLE]).read_bytes()


@csrf_exempt
def answer(request: HttpRequest) -> HttpResponse:
    return HttpResponse(content, content_type="application/json")


urlpatterns = [re_path("", answer)]
application = get_wsgi_application()
