"""Logging in: parameters, options, protocol versions, and what breaks the protocol."""

from __future__ import annotations

from ...frames import PROTOCOL_3_2, frame, query
from ..dsl import HangUp, Script, ask, conversation

APPLICATION = {"application_name": "till 7"}


@conversation()
def greeting() -> Script:
    """The greeting reports the same parameters as the server does."""
    yield ask("SELECT current_user, session_user, current_database(), current_schema()")


@conversation(parameters=APPLICATION)
def application_name() -> Script:
    """application_name reaches the server and is reported."""
    yield ask("SHOW application_name")
    yield ask("SELECT application_name FROM pg_stat_activity WHERE pid = pg_backend_pid()")


@conversation(parameters={"client_encoding": "latin1"})
def client_encoding_at_startup() -> Script:
    """Another client_encoding is in force and reported in the server's spelling."""
    yield ask("SHOW client_encoding")
    yield ask("SELECT convert_from('\\xc3a9', 'UTF8')")


@conversation(parameters={"options": "-c search_path=pg_catalog -c work_mem=5MB", "DateStyle": "German"})
def options_at_startup() -> Script:
    """Settings by options=-c … and by name are in force, and RESET returns to them."""
    yield ask("SHOW search_path; SHOW work_mem; SHOW DateStyle")
    yield ask("SET work_mem = '6MB'; SET DateStyle = ISO")
    yield ask("RESET work_mem; RESET DateStyle")
    yield ask("SHOW work_mem; SHOW DateStyle")
    yield ask("SELECT name, setting, reset_val FROM pg_settings WHERE name IN ('work_mem', 'DateStyle') ORDER BY name")


@conversation(parameters={"options": "--geqo=off --TimeZone=Asia/Tokyo -c statement_timeout=7s"})
def long_options_at_startup() -> Script:
    """The --name=value spelling of options works as well."""
    yield ask("SHOW geqo; SHOW TimeZone; SHOW statement_timeout")


@conversation(parameters={"options": "-c search_path=a\\ b,public"})
def escaped_options_at_startup() -> Script:
    """A backslash keeps a space within an option."""
    yield ask("SHOW search_path")


@conversation(parameters={"options": "-c no_such_thing=1"})
def unknown_option_at_startup() -> Script:
    """An unknown setting in options refuses the login with the server's words."""
    yield ask("SELECT 1")


@conversation(parameters={"work_mem": "lots"})
def bad_value_at_startup() -> Script:
    """A bad value refuses the login with the server's words."""
    yield ask("SELECT 1")


@conversation(parameters={"TimeZone": "Nowhere/At_All"})
def bad_time_zone_at_startup() -> Script:
    """An unknown time zone refuses the login with the server's words."""
    yield ask("SELECT 1")


@conversation(parameters={"extra_float_digits": "0", "IntervalStyle": "iso_8601", "bytea_output": "escape"})
def formats_at_startup() -> Script:
    """Settings that shape values are in force from the first query."""
    yield ask("SELECT 0.1::float8 + 0.2::float8, interval '1 day 2 hours', '\\x00ff41'::bytea")


@conversation(parameters={"myapp.tenant": "42"})
def custom_setting_at_startup() -> Script:
    """A setting with a prefix of its own travels too."""
    yield ask("SELECT current_setting('myapp.tenant')")
    yield ask("SET myapp.tenant = '43'")
    yield ask("SELECT current_setting('myapp.tenant')")
    yield ask("RESET myapp.tenant")
    yield ask("SELECT current_setting('myapp.tenant')")


@conversation(user="boss", parameters={"session_preload_libraries": "nothing"}, interleaves=False)
def superuser_only_setting_at_startup() -> Script:
    """A setting that does damage at startup refuses the login as it does direct."""
    yield ask("SELECT 1")


@conversation(protocol=PROTOCOL_3_2, since=18)
def protocol_3_2() -> Script:
    """Protocol 3.2 is spoken where the server speaks it, with its longer cancel key."""
    yield ask("SELECT 1")


@conversation(protocol=3 << 16 | 9999, since=18)
def protocol_3_9999() -> Script:
    """A minor version from the future is negotiated down as PostgreSQL does."""
    yield ask("SELECT 1")


@conversation(parameters={"_pq_.new_thing": "1", "_pq_.other": "x"})
def unknown_protocol_options() -> Script:
    """Unknown _pq_ options are named in NegotiateProtocolVersion and the login goes on."""
    yield ask("SELECT 1")


@conversation(protocol=2 << 16, since=18)
def protocol_2() -> Script:
    """Protocol 2 is refused with PostgreSQL's words."""
    yield ask("SELECT 1")


@conversation(user="with_scram", parameters={"user": "app"})
def user_of_the_startup_packet() -> Script:
    """The last user in the startup packet is the one that counts."""
    yield ask("SELECT current_user")


@conversation(parameters={"database": ""})
def empty_database_name() -> Script:
    """An empty database name means the user's own, which there is none of."""
    yield ask("SELECT 1")


@conversation(parameters={"replication": "maybe"})
def bad_replication_value() -> Script:
    """A value of `replication` that is none refuses the login."""
    yield ask("SELECT 1")


@conversation(own=True)
def unknown_message_type() -> Script:
    """A message type that does not exist ends the connection with 08P01."""
    yield ask("SELECT 1")
    yield HangUp(frame(b"y", b"what"))


@conversation(own=True)
def query_without_terminator() -> Script:
    """A Query without its zero byte is a protocol violation."""
    yield HangUp(frame(b"Q", b"SELECT 1") + query("SELECT 2") + frame(b"X"))
