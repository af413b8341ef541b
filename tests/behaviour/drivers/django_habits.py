"""A Django project in one file, run as a program of its own: Django keeps its settings for the whole process.

Usage: python django_habits.py URL habit|tests [CONN_MAX_AGE] [pool]. Exit code 0 means that all went well.
"""

# mypy: disable-error-code="import-untyped, misc"
from __future__ import annotations

import sys
from typing import Any

import dj_database_url
import django
from django.conf import settings


def configure(url: str, max_age: int, pool: bool) -> None:
    """The settings of the project: one database, Django's own auth and contenttypes apps."""
    database: dict[str, Any] = {**dj_database_url.parse(url, conn_max_age=max_age)}
    if pool:
        database["CONN_MAX_AGE"] = 0
        database["OPTIONS"] = {"pool": {"min_size": 1, "max_size": 5}}
    settings.configure(
        DATABASES={"default": database},
        INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth"],
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        USE_TZ=True,
        SECRET_KEY="not a secret",
    )
    django.setup()


def habit() -> None:
    """Migrate, insert, query, atomic blocks with a rollback, iterator() over a server-side cursor, aggregates."""
    from django.contrib.auth.models import User
    from django.core.management import call_command
    from django.db import close_old_connections, connection, transaction
    from django.db.models import Count

    call_command("migrate", verbosity=0)
    User.objects.bulk_create([User(username=f"user{number}") for number in range(300)])
    close_old_connections()
    with transaction.atomic():
        User.objects.filter(username="user1").update(first_name="outer")
        try:
            with transaction.atomic():
                User.objects.create(username="user1")
        except django.db.IntegrityError:
            pass
        User.objects.select_for_update().get(username="user2")
    assert User.objects.get(username="user1").first_name == "outer"
    assert sum(1 for _ in User.objects.iterator(chunk_size=50)) == 300
    with transaction.atomic():
        assert sum(1 for _ in User.objects.order_by("id").iterator(chunk_size=70)) == 300
    assert User.objects.aggregate(n=Count("id"))["n"] == 300
    assert User.objects.filter(username__icontains="USER29").count() == 11
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_setting('TimeZone')")
        assert cursor.fetchone() == ("UTC",)
    connection.close()


def run_tests() -> None:
    """Django's test runner creates a database, runs a TestCase and a TransactionTestCase in it, and drops it."""
    from django.contrib.auth.models import User
    from django.test import TestCase, TransactionTestCase
    from django.test.runner import DiscoverRunner

    class InATransaction(TestCase):
        """Rolled back after each test."""

        def test_insert(self) -> None:
            """A row inserted here is seen here."""
            User.objects.create(username="one")
            assert User.objects.count() == 1

        def test_nothing_left(self) -> None:
            """Nothing of the other test is left."""
            assert User.objects.count() == 0

    class WithFlush(TransactionTestCase):
        """Truncated after each test."""

        def test_insert(self) -> None:
            """A committed row."""
            User.objects.create(username="two")
            assert User.objects.count() == 1

    runner = DiscoverRunner(verbosity=1, interactive=False)
    suite = runner.test_suite()
    for case in (InATransaction, WithFlush):
        suite.addTests(runner.test_loader.loadTestsFromTestCase(case))
    runner.setup_test_environment()
    databases = runner.setup_databases()
    failed = runner.run_suite(suite)
    runner.teardown_databases(databases)
    runner.teardown_test_environment()
    assert failed.testsRun == 3
    assert failed.wasSuccessful()


if __name__ == "__main__":
    configure(sys.argv[1], int(sys.argv[3]) if len(sys.argv) > 3 else 0, "pool" in sys.argv)
    habit() if sys.argv[2] == "habit" else run_tests()
