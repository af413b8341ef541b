"""The ways in which a client's statement comes to run code of the users' own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Way:
    """SQL that leaves a thing behind, and then does as `mark` says (see `schema.AFTER`).

    In the texts {arg} stands for the thing's name and the mark, {thing} for the name alone, {mark} for the mark,
    {code}, {sql} and {text} for the thing's own.
    """

    name: str
    texts: tuple[str, ...]
    block: str = "any"
    """Where it may stand: any | alone (not in a transaction block) | inside (only in one)."""
    rows: str = ""
    """Sent as CopyData."""
    bypassed: bool = False
    """Superusers do not run it."""
    vague: bool = False
    """Its reply has timings in it."""
    call: bool = False
    """A FunctionCall message instead of SQL."""
    builtin: bool = False
    """Nothing but functions of PostgreSQL's own is in it."""
    apart: bool = False
    """Its code may run with any statement of its database, by what the catalog tells: see schema.APART."""
    before: str = ""
    """What has to be there, made by a third party."""
    read: bool = False
    """Its code runs as soon as PostgreSQL reads its text."""


def _one(name: str, text: str, block: str = "any", **more: Any) -> Way:
    return Way(name, (text,), block, **more)


_AFTER = "m.after('{mark}')"
_UNMADE = "DROP TABLE IF EXISTS m.made"
_FAMILY = """
INSERT INTO m.parent VALUES ('{arg}') ON CONFLICT DO NOTHING;
INSERT INTO m.child SELECT '{arg}' WHERE NOT EXISTS (SELECT FROM m.child WHERE thing = '{arg}')
"""

WAYS = (
    _one("plpgsql", "SELECT m.leave('{arg}')"),
    _one("sql_function", f"SELECT m.sql_{{thing}}(), {_AFTER}"),
    _one("nested", "SELECT m.nested('{arg}')"),
    _one("caught", "SELECT m.caught('{arg}')"),
    _one("do", f"DO $x$ BEGIN {{code}} PERFORM {_AFTER}; END $x$"),
    _one("do_commit", f"DO $x$ BEGIN {{code}} COMMIT; PERFORM {_AFTER}; END $x$", "alone"),
    _one("do_rollback", f"DO $x$ BEGIN {{code}} ROLLBACK; PERFORM {_AFTER}; END $x$", "alone"),
    _one("call", "CALL m.proc('{arg}')"),
    _one("call_commit", "CALL m.proc_commit('{arg}')", "alone"),
    _one("row_before", "INSERT INTO m.row_before VALUES ('{arg}')"),
    _one("row_after", "INSERT INTO m.row_after VALUES ('{arg}')"),
    _one("statement_before", f"INSERT INTO m.statement_before_{{thing}} VALUES ({_AFTER})"),
    _one("statement_after", "UPDATE m.statement_after SET thing = '{arg}'"),
    _one("deferred", "INSERT INTO m.deferred VALUES ('{arg}')"),
    _one("delete", "DELETE FROM m.deleted WHERE thing = '{arg}'", before="INSERT INTO m.deleted VALUES ('{arg}')"),
    _one("cascade", "DELETE FROM m.parent WHERE thing = '{arg}'", before=_FAMILY),
    _one("partition", "INSERT INTO m.whole VALUES ('{arg}')"),
    _one("instead_of", "INSERT INTO m.instead VALUES ('{arg}')"),
    _one("updatable_view", "INSERT INTO m.through VALUES ('{arg}')"),
    _one("rule_also", "INSERT INTO m.ruled VALUES ('{arg}')"),
    _one("rule_instead", "UPDATE m.ruled_instead SET thing = '{arg}'"),
    _one("policy", f"SELECT {_AFTER} FROM m.policed_{{thing}}", bypassed=True),
    _one("policy_check", "INSERT INTO m.checked_rows VALUES ('{arg}')", bypassed=True),
    _one("default", f"INSERT INTO m.defaulted_{{thing}} (n) VALUES ({_AFTER})"),
    _one("check", "INSERT INTO m.checked VALUES ('{arg}')"),
    _one("generated", "INSERT INTO m.generated VALUES ('{arg}')"),
    _one("domain", "SELECT '{arg}'::m.word"),
    _one("domain_column", "INSERT INTO m.worded VALUES ('{arg}')"),
    _one("operator", "SELECT '{arg}'::text OPERATOR(m.<~~>) 1"),
    _one("operator_like_another", "SELECT '{arg}'::text OPERATOR(m.@@) 1", apart=True),
    _one("operator_path", "SELECT ROW('{arg}')::m.box ~~~ 1"),
    _one("cast", "SELECT ROW('{arg}')::m.box::int", apart=True),
    _one("implicit_cast", "SELECT ROW('{arg}')::m.box + 1", apart=True),
    _one("computed", "SELECT o.total FROM m.things o WHERE o.thing = '{arg}'"),
    _one("aggregate", "SELECT m.gathered('{arg}')"),
    _one("window", "SELECT m.gathered('{arg}') OVER ()"),
    _one("view", f"SELECT n, {_AFTER} FROM m.view_{{thing}}"),
    _one("expression_index", "INSERT INTO m.indexed VALUES ('{arg}')"),
    _one("event_trigger", "COMMENT ON TABLE m.things IS '{arg}'"),
    Way("execute", ("PREPARE q AS SELECT m.leave('{arg}')", "EXECUTE q", "DEALLOCATE q")),
    Way("execute_bound", ("PREPARE q AS SELECT m.leave($1)", "EXECUTE q ('{arg}')", "DEALLOCATE q")),
    Way("cursor", ("DECLARE c CURSOR FOR SELECT m.leave('{arg}')", "FETCH ALL FROM c", "CLOSE c"), "inside"),
    Way("hold", ("DECLARE c CURSOR WITH HOLD FOR SELECT m.leave('{arg}')", "CLOSE c")),
    Way("copy_from", ("COPY m.row_after FROM STDIN",), rows="{arg}\n"),
    _one("copy_to", "COPY (SELECT m.leave('{arg}')) TO STDOUT"),
    _one("copy_returning", "COPY (INSERT INTO m.row_after VALUES ('{arg}') RETURNING thing) TO STDOUT"),
    _one("explain", "EXPLAIN (ANALYZE, COSTS OFF) SELECT m.leave('{arg}')", vague=True),
    Way("create_table_as", ("CREATE TABLE m.made AS SELECT m.leave('{arg}')", "DROP TABLE m.made"), before=_UNMADE),
    Way("select_into", ("SELECT m.leave('{arg}') INTO m.made", "DROP TABLE m.made"), before=_UNMADE),
    Way("create_view", (f"CREATE MATERIALIZED VIEW m.made AS SELECT n, {_AFTER} AS x FROM m.view_{{thing}}",
                        "DROP MATERIALIZED VIEW m.made"),
        before="DROP MATERIALIZED VIEW IF EXISTS m.made"),
    _one("refresh", "REFRESH MATERIALIZED VIEW m.refreshed_{thing}"),
    _one("limit", "SELECT 1 LIMIT m.leave('{arg}')"),
    _one("order_by", "SELECT t.thing FROM m.one t ORDER BY m.leave('{arg}')"),
    _one("where", "SELECT 1 FROM m.one WHERE m.leave('{arg}') > 0"),
    _one("join", "SELECT 1 FROM m.one a JOIN m.one b ON m.leave('{arg}') > 0"),
    _one("lateral", "SELECT x FROM m.one a, LATERAL m.leave('{arg}') x"),
    _one("with", "WITH x AS (SELECT m.leave('{arg}') AS n) SELECT n FROM x"),
    _one("with_write", "WITH x AS (INSERT INTO m.row_after VALUES ('{arg}') RETURNING thing) SELECT count(*) FROM x"),
    _one("having", "SELECT 1 FROM m.one HAVING m.leave('{arg}') > 0"),
    _one("case", "SELECT CASE WHEN EXISTS (SELECT m.leave('{arg}')) THEN 1 END, (SELECT m.leave('{arg}'))"),
    _one("from_function", "SELECT * FROM m.leave('{arg}')"),
    _one("several_rows", "SELECT * FROM m.several('{arg}')"),
    _one("values", "VALUES (1, m.leave('{arg}'))"),
    _one("tablesample", "SELECT 1 FROM m.one TABLESAMPLE SYSTEM (100 * m.leave('{arg}'))"),
    _one("update", "UPDATE m.one SET n = m.leave('{arg}')"),
    _one("returning", "UPDATE m.one SET n = 1 RETURNING m.leave('{arg}')"),
    _one("on_conflict", "INSERT INTO m.one VALUES ('x') ON CONFLICT (thing) DO UPDATE SET n = m.leave('{arg}')"),
    _one("merge", "MERGE INTO m.one USING (SELECT 1) s ON true WHEN MATCHED THEN UPDATE SET n = m.leave('{arg}')"),
    _one("default_argument", f"SELECT m.argument_{{thing}}(), {_AFTER}"),
    _one("overload", "SELECT upper(ROW('{arg}')::m.box)"),
    _one("text_of_a_function", "SELECT count(*) FROM ts_stat('SELECT to_tsvector(m.leave(''{arg}'')::text)')"),
    _one("order_using", "SELECT t FROM (VALUES ('{arg}'), ('x')) v (t) ORDER BY t USING OPERATOR(m.<<<)", apart=True),
    _one("range", "SELECT m.span(1, 2) && m.span(m.leave('{arg}'), 4)", apart=True),
    Way("alter_table", ("ALTER TABLE m.one ADD COLUMN more int DEFAULT m.leave('{arg}')",
                        "ALTER TABLE m.one DROP COLUMN more"),
        before="ALTER TABLE m.one DROP COLUMN IF EXISTS more"),
    Way("unparsable", ("SET standard_conforming_strings = off", "SELECT 'it\\'s', m.leave('{arg}')",
                       "RESET standard_conforming_strings")),
    Way("disguised", ("SET standard_conforming_strings = off", "SELECT 'a\\'' , m.leave($${arg}$$) , ' b --'",
                      "RESET standard_conforming_strings")),
    _one("itself", "{text}"),
    _one("call_and_fail", "SELECT {sql}, 1 / (SELECT 0)"),
    _one("call_and_after", f"SELECT {{sql}}, {_AFTER}"),
    _one("builtin_default", f"INSERT INTO m.given_{{thing}} (n) VALUES ({_AFTER})", builtin=True),
    _one("builtin_view", f"SELECT n, {_AFTER} FROM m.shown_{{thing}}", builtin=True),
    _one("builtin_policy", f"SELECT {_AFTER} FROM m.hidden_{{thing}}", builtin=True, bypassed=True),
    _one("explain_only", "EXPLAIN (COSTS OFF) SELECT m.leave_immutable('{arg}')"),
    _one("estimated", "EXPLAIN (COSTS OFF) SELECT 1 FROM m.one WHERE n > m.leave_stable('{arg}')"),
    _one("folded", "SELECT m.leave_immutable('{arg}')"),
    _one("distinct", "SELECT DISTINCT b FROM (VALUES (ROW('{arg}')::m.item), (ROW('x')::m.item)) v (b)", apart=True),
    _one("order_by_item", "SELECT b FROM (VALUES (ROW('{arg}')::m.item), (ROW('x'))) v (b) ORDER BY b", apart=True),
    _one("range_of_texts", "SELECT m.texts('a', '{arg}') IS NULL", apart=True),
    _one("json_record", """SELECT * FROM jsonb_to_record('{"t": "{arg}"}') AS x (t m.word)"""),
    _one("array_of_domain", "SELECT '{\"{arg}\"}'::m.word[]", read=True),
    _one("row_of_domain", "SELECT '(\"{arg}\")'::m.entry", read=True),
    _one("input_is_valid", "SELECT pg_input_is_valid('{arg}', 'm.word')"),
    _one("domain_in", "SELECT domain_in('{arg}', 'm.word'::regtype::oid, -1) IS NULL"),
    _one("array_in", "SELECT array_in('{\"{arg}\"}', 'm.word'::regtype::oid, -1) IS NULL"),
    Way("add_check", ("ALTER TABLE m.one ADD CONSTRAINT more CHECK (m.leave('{arg}') > 0)",
                      "ALTER TABLE m.one DROP CONSTRAINT more"),
        before="ALTER TABLE m.one DROP CONSTRAINT IF EXISTS more"),
    _one("alter_type", "ALTER TABLE m.one ALTER COLUMN n TYPE int USING m.leave('{arg}')"),
    Way("create_index", ("CREATE INDEX made ON m.things (m.leave_immutable('{arg}'))", "DROP INDEX m.made"),
        before="DROP INDEX IF EXISTS m.made"),
    _one("reindex", "REINDEX TABLE m.indexed_{thing}"),
    _one("analyze", "ANALYZE m.indexed_{thing}"),
    _one("definer", "SELECT m.definer('{arg}')"),
    _one("with_settings", "SELECT m.with_settings('{arg}')"),
    _one("copy_domain", "COPY m.worded FROM STDIN", rows="{arg}\n"),
    _one("coalesce_domain", "SELECT coalesce(thing, '{arg}') FROM m.blank_words"),
    _one("union_domain", "SELECT thing FROM m.blank_words UNION ALL SELECT '{arg}'"),
    _one("array_literal", "SELECT 1 FROM m.word_list WHERE words @> '{\"{arg}\"}'", read=True),
    _one("array_append", "SELECT array_append(words, '{arg}') FROM m.word_list"),
    _one("populated", "SELECT r.thing FROM m.blank_words w, jsonb_populate_record(w, '{\"thing\": \"{arg}\"}') r"),
    _one("row_literal", "SELECT 1 FROM m.entries WHERE entry = '({arg})'", read=True),
    _one("multirange", "SELECT '{[\"{arg}\",\"{arg}\"]}'::m.spans_of_words IS NULL", read=True),
    _one("domain_default", "INSERT INTO m.by_domain_{thing} (n) VALUES (1)"),
    Way("prepare_constant", ("PREPARE q AS SELECT '{\"{arg}\"}'::m.word[]", "DEALLOCATE q"), read=True),
    _one("prepare_fails", "PREPARE q AS SELECT '{\"{arg}\"}'::m.word[], missing", read=True),
    Way("prepare_only", ("PREPARE q AS SELECT 1", "DEALLOCATE q")),
    Way("listen_only", ("LISTEN q", "UNLISTEN q")),
    _one("settings", "UPDATE pg_settings SET setting = '77kB' WHERE name = 'work_mem'"),
    _one("settings_by_view", "UPDATE m.own_settings SET setting = '77kB' WHERE name = 'work_mem'"),
    Way("function_call", (), call=True),
)  # fmt: skip
