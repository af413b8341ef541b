"""A Django site with ATOMIC_REQUESTS, and one request to it: python django_site.py URL SQL WAY."""

from __future__ import annotations

import sys
from urllib.parse import parse_qs, urlsplit

import django
from django.conf import settings
from django.db import connection, transaction
from django.http import HttpRequest, HttpResponse
from django.test import Client
from django.urls import path

url, sql, way = urlsplit(sys.argv[1]), sys.argv[2], sys.argv[3]
database = {
    "ENGINE": "django.db.backends.postgresql",
    "HOST": url.hostname,
    "PORT": url.port,
    "USER": url.username,
    "NAME": url.path[1:],
    "OPTIONS": {"options": parse_qs(url.query)["options"][0]},
    "ATOMIC_REQUESTS": True,
}
settings.configure(DATABASES={"default": database}, ROOT_URLCONF=__name__, ALLOWED_HOSTS=["*"], SECRET_KEY="none")
django.setup()


def read() -> str:
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return str(cursor.fetchone()[0])


def view(_request: HttpRequest) -> HttpResponse:
    if way == "nested":
        with transaction.atomic():
            return HttpResponse(read())
    return HttpResponse(read())


urlpatterns = [path("", view)]

if __name__ == "__main__":
    reply = Client().get("/")
    assert reply.status_code == 200, reply
    print(reply.content.decode())
