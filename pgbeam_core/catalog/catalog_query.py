r"""What a server is asked about its catalog: whose code runs where, what stands behind relations, what has changed.

"Code" is a function that somebody other than PostgreSQL has made: it may do anything to tables and to the session. Not
counted are those of extensions that promise to change nothing, and those of a few extensions that are known. Counted
are PostgreSQL's own that leave something in the session, where they stand in definitions.

Everything is one simple Query. Its first statement holds to the end of that transaction: whatever operators and
functions a client has put in front of PostgreSQL's, also for those that pg_get_viewdef uses, they are not used; and
who changes tables does not wait for it in a circle.
"""

from __future__ import annotations

_OWN = "oid >= 16384"
"""What initdb has not made. Schemas do not tell: superusers may make functions in pg_catalog."""

_LASTING = "relpersistence <> 't'"
"""Temporary relations come and go all the time, and nothing that is read from them is remembered."""

_LEAVING = ", ".join(
    f"'{name}'"
    for name in (
        *("set_config", "setseed", "pg_advisory_lock", "pg_advisory_lock_shared", "pg_try_advisory_lock"),
        *("pg_try_advisory_lock_shared", "pg_advisory_unlock", "pg_advisory_unlock_shared", "pg_advisory_unlock_all"),
        *("pg_create_logical_replication_slot", "pg_create_physical_replication_slot", "pg_backup_start"),
        *("pg_copy_logical_replication_slot", "pg_copy_physical_replication_slot", "pg_start_backup"),
        *("pg_replication_origin_session_setup", "pg_replication_origin_session_reset", "ts_stat", "ts_rewrite"),
        *("query_to_xml", "query_to_xmlschema", "query_to_xml_and_xmlschema", "cursor_to_xml", "cursor_to_xmlschema"),
        *("table_to_xml", "table_to_xml_and_xmlschema", "schema_to_xml", "schema_to_xml_and_xmlschema"),
        *("database_to_xml", "database_to_xml_and_xmlschema"),
        *("pg_input_is_valid", "pg_input_error_info", "domain_in", "array_in", "record_in", "range_in"),
        *("multirange_in", "brin_summarize_new_values", "brin_summarize_range"),
    )
)

_RUN_TEXTS = "'dblink', 'tablefunc', 'xml2'"
"""Extensions whose functions run SQL that they are given, and some of which are declared STABLE."""
_OF_RANGES = (
    "'range_constructor2', 'range_constructor3',"
    " 'multirange_constructor0', 'multirange_constructor1', 'multirange_constructor2'"
)
"""What PostgreSQL makes of its own for each range type."""

_CODE = f"""code AS MATERIALIZED (
 SELECT p.oid, proname, lanname IN ('c', 'internal') AND extname NOT IN ({_RUN_TEXTS}) AS compiled_in_extension
 FROM pg_proc p JOIN pg_language l ON l.oid = prolang
 LEFT JOIN (pg_depend x JOIN pg_extension e ON e.oid = x.refobjid)
  ON x.classid = 'pg_proc'::regclass AND x.objid = p.oid AND x.deptype = 'e'
 WHERE p.{_OWN} AND (extname IS NULL OR NOT (extname IN ('uuid-ossp', 'pgcrypto')
  OR provolatile = 'i' OR (provolatile = 's' AND extname NOT IN ({_RUN_TEXTS})
   AND (lanname = 'c' OR (lanname = 'internal' AND prosrc NOT IN ({_LEAVING}))))))
 AND NOT (lanname = 'internal' AND prosrc IN ({_OF_RANGES})))"""

_CALLED = f"""{_CODE}, called AS MATERIALIZED (SELECT oid, proname FROM code
 UNION ALL SELECT oid, proname FROM pg_proc WHERE oid < 16384 AND proname IN ({_LEAVING}))"""

_IN_TREE = """\
LATERAL (SELECT DISTINCT m[1]::oid AS oid
 FROM regexp_matches(tree, ':(?:funcid|opfuncid|aggfnoid|winfnoid) (\\d+)', 'g') AS m) AS f JOIN called USING (oid)"""

_MAY_WRITE = (
    r"\m(insert|update|delete|merge|truncate|copy|call|execute|do|create|alter|drop|grant|revoke|refresh|reindex|cluster"
    r"|import|(query|cursor|table|schema|database)_to_xml\w*|ts_stat|ts_rewrite|pg_input_\w+|(domain|array|record|range|multirange)_in|brin_\w+|lo_\w+)\M"
    r'|"[^"]*[^"[:alnum:]_][^"]*"\s*\('
)
"""In a function's body: words of statements that write, and calls by names that are no plain words."""

_LONGEST_BODY = 4000

FUNCTIONS = rf"""
SELECT 'function', nspname, proname, provolatile FROM pg_proc p JOIN pg_namespace n ON n.oid = pronamespace
 WHERE p.{_OWN} AND prokind <> 'a';
WITH {_CODE}, own AS MATERIALIZED (SELECT DISTINCT lower(proname) AS word FROM pg_proc WHERE {_OWN})
SELECT 'code', nspname, p.proname, provolatile, lanname,
 CASE WHEN lanname IN ('c', 'internal') THEN CASE provolatile WHEN 'v' THEN 'writes' END
  WHEN lanname NOT IN ('sql', 'plpgsql') OR prosrc = '' OR prosrc ~* '{_MAY_WRITE}' THEN 'writes' END,
 CASE WHEN lanname NOT IN ('c', 'internal') THEN (SELECT string_agg(DISTINCT word, ' ')
  FROM regexp_matches(lower(prosrc), '([[:alpha:]_][[:alnum:]_$]*)"?\s*\(', 'g') AS m JOIN own ON word = m[1]) END,
 CASE WHEN provolatile = 'i' AND lanname IN ('sql', 'plpgsql') AND length(prosrc) <= {_LONGEST_BODY} THEN prosrc END
 FROM code JOIN pg_proc p USING (oid) JOIN pg_namespace n ON n.oid = pronamespace JOIN pg_language l ON l.oid = prolang
 WHERE prokind <> 'a';
SELECT DISTINCT 'default', nspname, p.proname, d.proname FROM pg_proc p JOIN pg_namespace n ON n.oid = pronamespace
 CROSS JOIN LATERAL regexp_matches(p.proargdefaults::text, ':(?:funcid|opfuncid) (\d+)', 'g') AS m
 JOIN pg_proc d ON d.oid = m[1]::oid AND d.{_OWN} WHERE p.proargdefaults IS NOT NULL;
SELECT DISTINCT 'aggregate', nspname, a.proname, s.proname FROM pg_aggregate
 JOIN pg_proc a ON a.oid = aggfnoid JOIN pg_namespace n ON n.oid = a.pronamespace
 LEFT JOIN pg_proc s ON s.{_OWN} AND s.oid IN (aggtransfn, aggfinalfn, aggcombinefn, aggserialfn, aggdeserialfn,
  aggmtransfn, aggminvtransfn, aggmfinalfn)
 WHERE a.{_OWN};
SELECT 'operator', nspname, oprname, proname, provolatile, CASE WHEN p.{_OWN} THEN 'own' END FROM pg_operator o
 JOIN pg_namespace n ON n.oid = oprnamespace JOIN pg_proc p ON p.oid = oprcode WHERE o.{_OWN};
SELECT DISTINCT 'field', proname FROM pg_proc p JOIN pg_type t ON t.oid = proargtypes[0]
 LEFT JOIN pg_type b ON b.oid = t.typbasetype
 WHERE p.{_OWN} AND pronargs - pronargdefaults <= 1 AND (t.typtype IN ('c', 'p') OR b.typtype = 'c');
WITH {_CODE} SELECT DISTINCT 'hidden', proname FROM code WHERE compiled_in_extension IS NOT TRUE AND oid IN (
 SELECT oprcode::oid FROM pg_operator WHERE {_OWN} AND oprname IN (SELECT oprname FROM pg_operator WHERE oid < 16384)
 UNION ALL SELECT castfunc FROM pg_cast UNION ALL SELECT amproc FROM pg_amproc
 UNION ALL SELECT oprcode FROM pg_amop JOIN pg_operator o ON o.oid = amopopr
 UNION ALL SELECT unnest(ARRAY[rngcanonical, rngsubdiff]) FROM pg_range
 UNION ALL SELECT unnest(ARRAY[typinput, typoutput, typreceive, typsend]) FROM pg_type WHERE {_OWN}
 UNION ALL SELECT conproc FROM pg_conversion)"""
"""Rows about functions: those of extensions that are trusted are `function` only, all others `code` too.

What types, operators and indexes of an extension call, in C, is not `hidden`: many forget to declare it IMMUTABLE, and
none is known that does more than compute.
"""

PARAMETER = (
    "(?:''|[[:<:]]set[[:space:]]+(?:session[[:space:]]+)?)"
    '("?[[:alpha:]_][[:alnum:]_]*"?[.]"?[[:alpha:]_][[:alnum:]_]*)'
)
"""A parameter with a dot as a function's body may name it. Without backslashes, which not all sessions read alike."""
MOST_PARAMETERS = 100


def _sets(tree: str) -> str:
    """Whether an expression calls set_config, by the number that it has in all versions."""
    return f"pg_catalog.strpos({tree}::pg_catalog.text, ':funcid 2078 ') OPERATOR(pg_catalog.>) 0"


NAMED = f"""\
SELECT DISTINCT pg_catalog.lower(pg_catalog.translate(m[1], '"', '')) AS name FROM (
 SELECT CASE WHEN prosrc OPERATOR(pg_catalog.=) '' AND prokind OPERATOR(pg_catalog.<>) 'a'
   THEN pg_catalog.pg_get_functiondef(oid) ELSE prosrc END FROM pg_catalog.pg_proc
  WHERE oid OPERATOR(pg_catalog.>=) '16384'
 UNION ALL SELECT pg_catalog.pg_get_expr(adbin, adrelid) FROM pg_catalog.pg_attrdef WHERE {_sets("adbin")}
 UNION ALL SELECT typdefault FROM pg_catalog.pg_type WHERE {_sets("typdefaultbin")}
 UNION ALL SELECT pg_catalog.pg_get_constraintdef(oid) FROM pg_catalog.pg_constraint WHERE {_sets("conbin")}
 UNION ALL SELECT pg_catalog.pg_get_expr(polqual, polrelid) FROM pg_catalog.pg_policy WHERE {_sets("polqual")}
 UNION ALL SELECT pg_catalog.pg_get_expr(polwithcheck, polrelid) FROM pg_catalog.pg_policy
  WHERE {_sets("polwithcheck")}
 UNION ALL SELECT pg_catalog.pg_get_triggerdef(oid) FROM pg_catalog.pg_trigger WHERE {_sets("tgqual")}
 UNION ALL SELECT pg_catalog.pg_get_ruledef(oid) FROM pg_catalog.pg_rewrite
  WHERE oid OPERATOR(pg_catalog.>=) '16384' AND ({_sets("ev_action")} OR {_sets("ev_qual")})
) AS naming(body) CROSS JOIN LATERAL pg_catalog.regexp_matches(body, '{PARAMETER}', 'gi') AS m
 WHERE pg_catalog.strpos(body, '.') OPERATOR(pg_catalog.>) 0 ORDER BY 1 LIMIT {MOST_PARAMETERS}"""
"""The names of these parameters, whatever a client has put in front of PostgreSQL's operators and functions."""

PARAMETERS = f"""
SELECT 'parameter', name FROM ({NAMED}) AS named"""
"""Rows about parameters with a dot that code in the catalog names: no view shows whether one of these is set."""

DEFINITIONS = rf"""
WITH {_CALLED} SELECT DISTINCT 'runs', mode, relname, proname FROM (
 SELECT adrelid AS relation, 'write' AS mode, adbin::text AS tree FROM pg_attrdef
 UNION ALL SELECT attrelid, 'write', typdefaultbin::text FROM pg_attribute JOIN pg_type t ON t.oid = atttypid
  WHERE typdefaultbin IS NOT NULL AND attnum > 0
 UNION ALL SELECT conrelid, 'write', conbin::text FROM pg_constraint WHERE conrelid <> 0 AND conbin IS NOT NULL
 UNION ALL SELECT polrelid, 'read', polqual::text FROM pg_policy WHERE polqual IS NOT NULL
 UNION ALL SELECT polrelid, 'write', polwithcheck::text FROM pg_policy WHERE polwithcheck IS NOT NULL
 UNION ALL SELECT indrelid, 'write', concat(indexprs::text, indpred::text) FROM pg_index
  WHERE indexprs IS NOT NULL OR indpred IS NOT NULL
 UNION ALL SELECT partrelid, 'write', partexprs::text FROM pg_partitioned_table WHERE partexprs IS NOT NULL
 UNION ALL SELECT tgrelid, 'write', tgqual::text FROM pg_trigger WHERE tgqual IS NOT NULL
 UNION ALL SELECT ev_class, CASE ev_type WHEN '1' THEN 'read' ELSE 'write' END, concat(ev_action::text, ev_qual::text)
  FROM pg_rewrite WHERE {_OWN}) AS t
 CROSS JOIN {_IN_TREE} JOIN pg_class c ON c.oid = relation;
WITH RECURSIVE {_CALLED}, types AS (
 SELECT contypid AS type FROM (SELECT contypid, conbin::text AS tree FROM pg_constraint WHERE contypid <> 0) AS t
  CROSS JOIN {_IN_TREE}
 UNION SELECT outer_type FROM types JOIN (
  SELECT oid AS outer_type, typelem AS inner_type FROM pg_type WHERE typelem <> 0
  UNION ALL SELECT oid, typbasetype FROM pg_type WHERE typtype = 'd'
  UNION ALL SELECT rngtypid, rngsubtype FROM pg_range
  UNION ALL SELECT (to_jsonb(r)->>'rngmultitypid')::oid, rngtypid FROM pg_range r
  UNION ALL SELECT reltype, atttypid FROM pg_class c JOIN pg_attribute ON attrelid = c.oid AND attnum > 0
   WHERE reltype <> 0) AS holds ON inner_type = type)
SELECT 'type', typname, relname FROM types JOIN pg_type t ON t.oid = type LEFT JOIN pg_class c ON reltype = type;
WITH {_CODE} SELECT DISTINCT 'anything', relname FROM pg_trigger JOIN pg_class c ON c.oid = tgrelid
 JOIN code ON code.oid = tgfoid WHERE tgenabled <> 'D';
SELECT DISTINCT 'anything', relname FROM pg_rewrite r JOIN pg_class c ON c.oid = ev_class
 WHERE ev_type <> '1' AND r.{_OWN};
SELECT 'event', evtname FROM pg_event_trigger WHERE evtenabled <> 'D' AND evtevent <> 'login';
SELECT 'foreign', relname FROM pg_class WHERE relkind = 'f';
SELECT 'dated', attname FROM pg_attribute JOIN pg_class c ON c.oid = attrelid JOIN pg_type t ON t.oid = atttypid
 WHERE attnum > 0 AND NOT attisdropped AND c.{_OWN} AND relkind IN ('r', 'v', 'm', 'f', 'p') AND {_LASTING}
 GROUP BY attname HAVING bool_and(typcategory = 'D')"""
"""Rows about what runs code when it is read or written, and about columns that hold nothing but dates and times."""

RELATIONS = rf"""
SELECT DISTINCT 'behind', v.relname, t.relname FROM pg_class v
 JOIN pg_rewrite r ON r.ev_class = v.oid JOIN pg_depend d ON d.objid = r.oid JOIN pg_class t ON t.oid = d.refobjid
 WHERE v.relkind = 'v' AND v.{_OWN} AND t.oid <> v.oid
 AND d.classid = 'pg_rewrite'::regclass AND d.refclassid = 'pg_class'::regclass;
SELECT 'behind', p.relname, c.relname FROM pg_inherits JOIN pg_class p ON p.oid = inhparent
 JOIN pg_class c ON c.oid = inhrelid WHERE p.relkind <> 'I';
SELECT 'defined', relname, pg_get_viewdef(oid) FROM pg_class WHERE relkind = 'v' AND {_OWN} AND {_LASTING};
SELECT 'policy', relname, pg_get_expr(polqual, polrelid) FROM pg_policy JOIN pg_class t ON t.oid = polrelid
 WHERE relrowsecurity AND polqual IS NOT NULL;
SELECT DISTINCT 'looks', t.relname, o.relname FROM pg_policy p JOIN pg_class t ON t.oid = polrelid
 JOIN pg_depend d ON d.objid = p.oid JOIN pg_class o ON o.oid = d.refobjid
 WHERE t.relrowsecurity AND o.oid <> t.oid
 AND d.classid = 'pg_policy'::regclass AND d.refclassid = 'pg_class'::regclass;
SELECT DISTINCT 'cascade', t.relname, c.relname FROM pg_constraint JOIN pg_class t ON t.oid = confrelid
 JOIN pg_class c ON c.oid = conrelid WHERE contype = 'f' AND (confdeltype ~ '[cnd]' OR confupdtype ~ '[cnd]');
SELECT 'sequence', relname FROM pg_class WHERE relkind = 'S' AND {_OWN} AND {_LASTING}"""
"""Rows about what stands behind relations."""


def _version(of: str, table: str, columns: str = "oid, xmin", where: str = _OWN) -> str:
    return f"\nSELECT 'version', '{of}', sum(hashtext(concat_ws(' ', {columns}))::bigint) FROM {table} WHERE {where}"


VERSIONS = ";".join(
    [
        _version(
            "relations",
            "pg_class c LEFT JOIN pg_attribute a ON attrelid = c.oid AND attnum > 0",
            "c.oid, c.xmin, a.attnum, a.xmin",
            f"relkind IN ('r', 'v', 'm', 'f', 'p') AND c.{_OWN} AND {_LASTING}",
        ),
        _version("policies", "pg_policy"),
        _version("schemas", "pg_namespace", where="nspname !~ '^pg_'"),
        _version("functions", "pg_proc"),
        _version("types", "pg_type", where=f"{_OWN} AND typrelid = 0 AND typelem = 0"),
        _version("labels", "pg_enum"),
        _version("operators", "pg_operator"),
        _version("casts", "pg_cast"),
        _version(
            "rules", "pg_rewrite r JOIN pg_class c ON c.oid = ev_class", "r.oid, r.xmin", f"r.{_OWN} AND {_LASTING}"
        ),
        _version("defaults", "pg_db_role_setting", "setdatabase, setrole, xmin", "true"),
        _version("dictionaries", "pg_ts_dict"),
        _version("configurations", "pg_ts_config_map", "mapcfg, maptokentype, mapseqno, mapdict, xmin", "true"),
        _version("members", "pg_auth_members", "roleid, member, xmin", "true"),
        _version("roles", "pg_roles", "oid, rolname, rolsuper, rolbypassrls, rolinherit", "true"),
    ]
)
"""Rows that differ when something has changed which no other row shows: definitions, rights, memberships, roles."""

_LOCK_MS = 200
"""pg_get_viewdef locks the tables of every view to the end of the question. A client's statement that changes some of
them in one transaction would wait for that in a circle, and be ended by PostgreSQL after deadlock_timeout, a second
by default: so the question gives way long before, and is asked again."""
_FIRST = (
    "SELECT WHERE pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true) IS NULL"
    f" OR pg_catalog.set_config('lock_timeout', '{_LOCK_MS}', true) IS NULL"
)

CATALOG_QUERY = f"{_FIRST};{FUNCTIONS};{PARAMETERS};{DEFINITIONS};{RELATIONS};{VERSIONS}".encode()
"""Gives the rows that a Catalog is made of. Reads of catalogs only, one transaction, with no effect but their locks."""
