"""A Django application that knows nothing of caching, run as a program: Django keeps its settings for its process.

Usage: python django_shop.py URL. Prints what its page would show, as JSON.
"""

# mypy: disable-error-code="import-untyped, misc"
from __future__ import annotations

import json
import sys

import dj_database_url
import django
from django.conf import settings


def configure(url: str) -> None:
    """The settings of the application: one database, no apps."""
    settings.configure(DATABASES={"default": dj_database_url.parse(url)}, USE_TZ=True, SECRET_KEY="not a secret")
    django.setup()


def page() -> dict[str, object]:
    """Two queries of the ORM, one with a join, a parameter and an aggregate."""
    from django.db import models

    class Category(models.Model):
        """One of the shop's."""

        id = models.IntegerField(primary_key=True)
        name = models.TextField()

        class Meta:
            app_label = "shop"
            managed = False
            db_table = "categories"

    class Product(models.Model):
        """One of the shop's."""

        id = models.IntegerField(primary_key=True)
        price = models.DecimalField(max_digits=10, decimal_places=2)
        category = models.ForeignKey(Category, models.DO_NOTHING)

        class Meta:
            app_label = "shop"
            managed = False
            db_table = "products"

    dearest = Product.objects.filter(category__name="category 2").aggregate(models.Max("price"))
    return {"dearest": str(dearest["price__max"]), "names": [each.name for each in Category.objects.order_by("id")]}


if __name__ == "__main__":
    configure(sys.argv[1])
    print(json.dumps(page()))
