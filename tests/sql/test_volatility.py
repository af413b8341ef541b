"""Which functions a remembered result may rest on."""

from __future__ import annotations

import pytest

from pgbeam_core.sql.volatility import Volatility


@pytest.mark.parametrize(
    "name",
    [
        "lower",
        "count",
        "sum",
        "row_number",
        "unnest",
        "abs",
        "jsonb_object_keys",
        "to_char",
        "date_trunc",
        "extract",
        "timezone",
        "format",
        "jsonb_agg",
        "string_agg",
        "generate_series",
        "like",
    ],
)
def test_ordinary_functions_may_be_remembered(name: str) -> None:
    """What depends on arguments and settings alone is safe, with and without its schema."""
    assert Volatility().is_immutable((None, name))
    assert Volatility().is_immutable(("pg_catalog", name))


@pytest.mark.parametrize(
    "name",
    [
        "now",
        "random",
        "age",
        "nextval",
        "currval",
        "pg_sleep",
        "txid_current",
        "current_setting",
        "set_config",
        "pg_advisory_lock",
        "pg_notify",
        "lo_import",
        "pg_backend_pid",
        "version",
        "timetz",
        "clock_timestamp",
        "timeofday",
        "gen_random_uuid",
        "has_table_privilege",
        "pg_get_viewdef",
        "to_regclass",
        "query_to_xml",
        "pg_relation_size",
        "jsonb_to_recordset",
        "pg_typeof",
        "inet_client_addr",
        "setseed",
        "system_user",
        "mine",
    ],
)
def test_changing_and_unknown_functions_may_not(name: str) -> None:
    """Time, chance, session, catalog, side effects, and whatever nobody has heard of."""
    assert not Volatility().is_immutable((None, name))
    assert not Volatility().is_immutable(("pg_catalog", name))
