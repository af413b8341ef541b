"""Productions of PostgreSQL's grammar that can be repeated, left, right and as lists, and what its lexer repeats.

`PRODUCTIONS` has a function for each: how often, to the text.
"""

from __future__ import annotations

from collections.abc import Callable

Grow = Callable[[int], str]

PRODUCTIONS: dict[str, Grow] = {}


def chain(name: str, start: str, step: str, end: str = "") -> None:
    """One step behind another: a left recursion, or a token that grows."""
    PRODUCTIONS[name] = lambda n: start + step * n + end


def nest(name: str, start: str, left: str, mid: str, right: str, end: str = "") -> None:
    """One within another."""
    PRODUCTIONS[name] = lambda n: start + left * n + mid + right * n + end


def sep(name: str, start: str, item: str, by: str, end: str = "") -> None:
    """A list of the same."""
    PRODUCTIONS[name] = lambda n: start + by.join([item] * max(n, 1)) + end


def number(name: str, start: str, item: str, by: str, end: str = "") -> None:
    """A list of different ones: # is the place in it."""
    PRODUCTIONS[name] = lambda n: start + by.join(item.replace("#", str(i)) for i in range(1, max(n, 1) + 1)) + end


def grown(name: str, size: int) -> bytes:
    """The text of a production at about so many bytes, and not more."""
    grow = PRODUCTIONS[name]
    least = len(grow(1).encode())
    each = max(1, (len(grow(1001).encode()) - least) // 1000)
    return grow(max(1, (size - least) // each)).encode()


# Left recursive expressions.
for sign in [
    "+",
    "-",
    "*",
    "/",
    "%",
    "^",
    "||",
    "=",
    "<",
    "<>",
    "@>",
    "->",
    "->>",
    " and ",
    " or ",
    " is distinct from ",
    " like ",
    " operator(pg_catalog.+) ",
    " between 1 and ",
]:
    chain(f"left {sign.strip()}", "select 1", f"{sign}1")
chain("tight or", "select a", "or a")
chain("mixed and or", "select a", " and a or a")
chain("cast", "select 1", "::int")
chain("cast numeric", "select 1", "::numeric(1,1)")
chain("subscript", "select a", "[1]")
chain("slice", "select a", "[:]")
chain("attribute", "select (a)", ".b")
chain("column ref", "select a", ".b")
chain("column star", "select a.*", ",a.*")
chain("collate", "select a", ' collate "C"')
chain("at time zone", "select a", " at time zone b")
chain("at local", "select a", " at local")
chain("isnull", "select a", " isnull")
chain("is null", "select a", " is null")
chain("notnull", "select a", " notnull")
chain("is true", "select a", " is true")
chain("is document", "select a", " is document")
chain("is normalized", "select a", " is normalized")
chain("is json", "select a", " is json")
chain("postfix in", "select a", " in (1)")
chain("any", "select a", "=any(b)")
chain("escape", "select a", " like b escape c")
chain("similar", "select a", " similar to b")
chain("overlaps", "select (a,a)", " overlaps (a,a)")
# Prefix.
chain("not", "select ", "not ", "a")
chain("minus", "select ", "- ", "1")
chain("minus a", "select ", "-a", "")
chain("plus", "select ", "+ ", "1")
chain("tilde", "select ", "~ ", "1")
chain("pluses glued", "select ", "+", "1")
chain("minuses after at", "select @", "-", "1")
chain("operator glued", "select 1 ", "<", "1")
chain("mixed glued", "select 1 ", "+-", "1")
nest("and not", "select a", " and not(a", "", ")")
# Brackets.
nest("parens", "select ", "(", "1", ")")
nest("parens open", "select ", "(", "1", "")
nest("select parens", "", "(", "select 1", ")")
nest("select from parens", "select * from ", "(", "a cross join b", ")")
nest("row parens", "select ", "(1,", "1", ")")
nest("row word", "select ", "row(", "1", ")")
nest("call", "select ", "f(", "1", ")")
nest("call name", "select ", "f(a=>", "1", ")")
nest("array", "select ", "array[", "1", "]")
nest("array inner", "select array", "[", "1", "]")
nest("coalesce", "select ", "coalesce(", "1", ")")
nest("greatest", "select ", "greatest(", "1", ")")
nest("nullif", "select ", "nullif(1,", "1", ")")
nest("cast word", "select ", "cast(", "1", " as int)")
nest("subscript nest", "select ", "a[", "1", "]")
nest("extract", "select ", "extract(year from ", "1", ")")
nest("substring", "select ", "substring(", "a", " from 1)")
nest("trim", "select ", "trim(", "a", ")")
nest("position", "select ", "position(1 in ", "a", ")")
nest("overlay", "select ", "overlay(a placing ", "a", " from 1)")
nest("treat", "select ", "treat(", "a", " as int)")
nest("normalize", "select ", "normalize(", "a", ")")
nest("xmlelement", "select ", "xmlelement(name a,", "a", ")")
nest("xmlconcat", "select ", "xmlconcat(", "a", ")")
nest("xmlforest", "select ", "xmlforest(", "a", " as b)")
nest("xmlserialize", "select ", "xmlserialize(content ", "a", " as text)")
nest("xmlparse", "select ", "xmlparse(content ", "a", ")")
nest("json_object", "select ", "json_object('a':", "1", ")")
nest("json_array", "select ", "json_array(", "1", ")")
nest("json_arrayagg", "select ", "json_arrayagg(", "1", ")")
nest("json_objectagg", "select ", "json_objectagg('a':", "1", ")")
nest("json_query", "select ", "json_query(", "a", ",'$')")
nest("json_value", "select ", "json_value(", "a", ",'$')")
nest("json_exists", "select ", "json_exists(", "a", ",'$')")
nest("json scalar", "select ", "json_scalar(", "a", ")")
nest("json serialize", "select ", "json_serialize(", "a", ")")
nest("json fn", "select ", "json(", "a", ")")
nest("json_table", "select * from json_table(a,'$' columns(", "nested '$' columns(", "b int", ")", "))")
nest("case when", "select ", "case when ", "a", " then 1 end")
nest("case then", "select ", "case when a then ", "a", " end")
nest("case else", "select ", "case when a then 1 else ", "a", " end")
nest("case arg", "select ", "case ", "a", " when 1 then 1 end")
nest("in list nest", "select ", "a in (", "1", ")")
nest("in select", "select ", "a in (select ", "1", ")")
nest("exists", "select ", "exists(select ", "1", ")")
nest("scalar", "select ", "(select ", "1", ")")
nest("array select", "select ", "array(select ", "1", ")")
nest("any select", "select ", "1=any(select ", "1", ")")
nest("filter", "select ", "f() filter(where ", "a", ")")
nest("over order", "select ", "f() over(order by ", "a", ")")
nest("within", "select ", "f() within group(order by ", "a", ")")
nest("agg order", "select ", "f(a order by ", "a", ")")
nest("from select", "select * from ", "(select * from ", "a", ")b")
nest("from lateral", "select * from ", "lateral(select * from ", "a", ")b")
nest("from function", "select * from ", "f((select 1 from ", "a", "))")
nest("from values", "select * from ", "(values((select 1 from ", "a", ")))b")
nest("tablesample", "select * from ", "a tablesample b((select 1 from ", "a", "))")
nest("where select", "select 1 ", "where (select 1 ", "", ")")
nest("cte", "", "with a as(", "select 1", ")select 1")
nest("cte insert", "", "with a as(", "insert into a values(1)", " returning 1)select 1")
nest("limit", "select 1 ", "limit (select 1 ", "", ")")
nest("order select", "select 1 ", "order by (select 1 ", "", ")")
nest("grouping sets", "select 1 group by ", "grouping sets(", "a", ")")
nest("rollup", "select 1 group by ", "grouping sets(rollup(a),", "a", ")")
nest("values nest", "", "values((", "values(1)", "))")
nest("default insert", "insert into a values", "((select ", "1", "))")
nest("update set", "update a set b=", "(select ", "1", ")")
nest("explain", "", "explain ", "select 1", "")
nest("prepare", "", "prepare a as ", "select 1", "")
nest("explain analyze", "", "explain(analyze) ", "select 1", "")
nest("create schema", "", "create schema a ", "create table b()", "")
nest("rule", "create rule a as on insert to b do (", "(", "select 1", ")", ")")
nest("begin atomic", "create function f() returns int ", "begin atomic ", "select 1;", " end;", "")
nest("check", "create table a(b int check(", "(", "1", ")", "))")
nest("setof", "create function f(a ", "", "int", "[]", ") returns int as ''")
nest("partition", "create table a partition of b for values from (", "(", "1", ")", ") to (1)")
nest("call stmt", "call f(", "f(", "1", ")", ")")
nest("comments nested", "select 1 ", "/*", "", "*/")
nest("comments open", "select 1 ", "/*", "", "")
chain("comments slash", "select 1 /*", "/", "*/")
chain("comments star", "select 1 /*", "*", "/")
chain("comments row", "select 1 ", "/**/")
chain("dash comments", "select 1 ", "--\n")
chain("spaces", "select 1", " ")
chain("newlines", "select 1", "\n")
# Set operations and joins.
for op in ["union", "union all", "intersect", "except"]:
    chain(f"{op}", "select 1", f" {op} select 1")
chain("union empty", "select", " union select")
chain("union values", "values(1)", " union values(1)")
chain("union table", "table a", " union table a")
nest("union right", "", "select 1 union (", "select 1", ")")
nest("union left", "", "(", "select 1", " union select 1)")
chain("join", "select 1 from a", " join a on 1")
chain("join using", "select 1 from a", " join a using(b)")
chain("cross join", "select 1 from a", " cross join a")
chain("natural join", "select 1 from a", " natural join a")
chain("left join", "select 1 from a", " left join a on b")
nest("join right", "select 1 from a", " join a", "", " on 1")
nest("join right parens", "select 1 from a", " join (a", "", ")on 1")
chain("merge when", "merge into a using b on c", " when matched then delete")
# Lists.
sep("target list", "select ", "1", ",")
sep("target names", "select ", "a", ",")
sep("target strings", "select ", "''", ",")
sep("target alias", "select ", "a b", ",")
sep("from list", "select 1 from ", "a", ",")
sep("from functions", "select 1 from ", "f()", ",")
sep("rows from", "select 1 from rows from(", "f()", ",", ")")
sep("in list", "select a in(", "1", ",", ")")
sep("in params", "select a in(", "$1", ",", ")")
sep("array list", "select array[", "1", ",", "]")
sep("array rows", "select array[", "[]", ",", "]")
sep("row list", "select (", "1", ",", ")")
sep("row empty", "select (", "row()", ",", ")")
sep("args", "select f(", "1", ",", ")")
sep("args names", "select f(", "a=>1", ",", ")")
sep("calls", "select ", "f()", ",")
sep("values rows", "values", "(1)", ",")
sep("values cols", "values(", "1", ",", ")")
sep("insert rows", "insert into a values", "(1)", ",")
sep("insert defaults", "insert into a values", "(default)", ",")
sep("insert cols", "insert into a(", "b", ",", ")values(1)")
sep("update list", "update a set ", "b=1", ",")
sep("update multi", "update a set ", "(b)=(1)", ",")
sep("order list", "select 1 order by ", "a", ",")
sep("group list", "select 1 group by ", "a", ",")
sep("group rollup", "select 1 group by ", "rollup(a)", ",")
sep("window list", "select 1 window ", "a as()", ",")
sep("partition list", "select f() over(partition by ", "a", ",", ")")
sep("distinct on", "select distinct on(", "a", ",", ")1")
sep("returning", "delete from a returning ", "b", ",")
sep("when", "select case", " when 1 then 1", "", " end")
sep("locking", "select 1", " for update", "")
sep("locking of", "select 1 for update of ", "a", ",")
number("ctes", "with ", "a# as(select 1)", ",", "select 1")
number("ctes used", "with a0 as(select 1),", "a# as(table a0)", ",", "select 1")
number("ctes recursive", "with recursive ", "a# as(select 1)", ",", "select 1")
number("relations", "select 1 from ", "a#", ",")
number("functions", "select ", "f#()", ",")
number("columns", "select ", "a#", ",")
number("strings", "select ", "'#'", ",")
number("params", "select ", "$#", ",")
sep("set_config", "select ", "set_config('a.b','',false)", ",")
number("set_config names", "select ", "set_config('a.b#','',false)", ",")
sep("set_config and", "select ", "set_config('a.b','',false)", "||")
sep("statements", "", "select 1", ";")
sep("statements empty", "", "select", ";")
sep("statements set", "", "set a=1", ";")
sep("statements rollback", "", "abort", ";")
sep("semicolons", "select 1", ";", "")
sep("drop list", "drop table ", "a", ",")
sep("truncate list", "truncate ", "a", ",")
sep("lock list", "lock ", "a", ",")
sep("grant list", "grant select on ", "a", ",", " to b")
sep("grant to", "grant select on a to ", "b", ",")
sep("set list", "set a=", "1", ",")
sep("set path", "set search_path=", "a", ",")
number("set names", "", "set a.b#=1", ";")
sep("create columns", "create table a(", "b int", ",", ")")
sep("create constraints", "create table a(b int ", "check(1)", "", ")")
sep("create array", "create table a(b int", "[]", "", ")")
sep("create index", "create index on a(", "b", ",", ")")
sep("create inherits", "create table a()inherits(", "b", ",", ")")
sep("create stats", "create statistics a on ", "b", ",", " from c")
sep("alter list", "alter table a ", "add b int", ",")
sep("enum", "create type a as enum(", "'b'", ",", ")")
sep("copy options", "copy a to stdout(", "b 1", ",", ")")
sep("copy columns", "copy a(", "b", ",", ")from stdin")
sep("explain options", "explain(", "a", ",", ")select 1")
sep("vacuum list", "vacuum ", "a", ",")
sep("transaction modes", "begin ", "read only", ",")
sep("execute args", "execute a(", "1", ",", ")")
sep("function options", "create function f() returns int ", "immutable ", "", " as ''")
sep("function args", "create function f(", "a int", ",", ")returns int as ''")
sep("do options", "do ", "'a'", " ")
sep("schema elements", "create schema a ", "create table b()", " ")
sep("qualified", "select 1 from ", "a.b.c", ",")
sep("name parts", "drop table a", ".b", "")
sep("xml attributes", "select xmlelement(name a,xmlattributes(", "a", ",", "))")
sep("xmltable", "select 1 from xmltable('a' passing b columns ", "c int", ",", ")")
sep("json keys", "select json_object(", "'a':1", ",", ")")
sep("json_table columns", "select 1 from json_table(a,'$' columns(", "b int", ",", "))")
sep("string parts", "select ", "'a'", "\n")
# Lexical.
chain("word", "select ", "a")
chain("word case", "select ", "A")
chain("digits", "select ", "1")
chain("digits under", "select 1", "_1")
chain("point digits", "select 1", ".1")
chain("hex", "select 0x", "f")
chain("string", "select '", "a", "'")
chain("string open", "select '", "a")
chain("string quotes", "select '", "''", "'")
chain("string backslash", "select e'", "\\n", "'")
chain("string unicode", "select u&'", "\\0041", "'")
chain("escape unicode", "select e'", "\\u0041", "'")
chain("string now", "select '", "now ", "'")
chain("string no", "select '", "no", "'")
chain("quoted", 'select "', "a", '"')
chain("quoted quotes", 'select "', '""', '"')
chain("quoted unicode", 'select u&"', "\\0041", '"')
chain("bits", "select b'", "1", "'")
chain("dollar", "select $$", "a", "$$")
chain("dollar tags", "select $a$", "$b$", "$a$")
chain("dollars open", "select ", "$")
chain("dollar opens", "select ", "$a$ ")
chain("dollar words", "select ", "$a ")
chain("dollar inner", "select $a$", "$a", "$a$")
chain("quotes open", "select ", "'a\" ")
chain("utf8", "select '", "é", "'")
chain("utf8 word", "select ", "é")
chain("annotation words", "/* @pgbeam:cache ", "a ", "*/ select 1")
chain("annotations", "", "/* @pgbeam:cache noCache */ ", "select 1")
chain("annotation marks", "/* ", "@pgbeam:cache ", "*/ select 1")
chain("annotation digits", "/* @pgbeam:cache maxAge=", "1", " */ select 1")
chain("annotation spaces", "/* @pgbeam:cache ", " ", " */ select 1")
chain("annotation after", "select 1 /* @pgbeam:cache */", "/* @pgbeam:cache */")
chain("annotation nest", "/* @pgbeam:cache ", "/*", " */ select 1")
chain("junk", "", "¿")
chain("open only", "", "(")
chain("close only", "", ")")
chain("commas", "select ", ",")
chain("points", "select ", ".")
chain("at signs", "select ", "@")
chain("number by", "select 1 order by a", ",by $1")
