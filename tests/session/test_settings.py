"""Run-time parameters and pgbeam.* variables, against a model of what PostgreSQL does."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgbeam_core.api.results import Refusal
from pgbeam_core.api.statement import SettingAction, SettingChange
from pgbeam_core.session.settings import MOST, MOST_BYTES, SessionSettings, difference, literal
from pgbeam_core.session.variables import VariableError, Variables

NAMES = ["search_path", "timezone", "application_name"]
VALUES = ["a", "b", ""]
BASE = {"application_name": "mine"}


@dataclass
class Model:
    """A session as PostgreSQL keeps it: a stack of what holds at the beginning, and at each savepoint."""

    now: dict[str, str] = field(default_factory=lambda: dict(BASE))
    stack: list[tuple[str | None, dict[str, str]]] = field(default_factory=list)

    def begin(self) -> None:
        if not self.stack:
            self.stack = [(None, deepcopy(self.now))]

    def reset(self, name: str) -> None:
        self.now.pop(name, None)
        if name in BASE:
            self.now[name] = BASE[name]

    def find(self, name: str) -> int | None:
        places = [place for place, (other, _) in enumerate(self.stack) if other == name]
        return places[-1] if places else None

    def end(self, *, committed: bool) -> None:
        if self.stack and not committed:
            self.now = self.stack[0][1]
        self.stack = []


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("set"), st.sampled_from(NAMES), st.sampled_from(VALUES)),
        st.tuples(st.sampled_from(["local", "show"]), st.sampled_from(NAMES), st.sampled_from(VALUES)),
        st.tuples(st.just("reset"), st.sampled_from(NAMES), st.just("")),
        st.tuples(st.sampled_from(["reset all", "begin", "commit", "rollback", "discard"]), st.just(""), st.just("")),
        st.tuples(st.sampled_from(["savepoint", "rollback to"]), st.sampled_from(["x", "y"]), st.just("")),
    ),
    max_size=25,
)


@given(STEPS)
def test_settings_follow_transactions_as_postgresql_does(steps: list[tuple[str, str, str]]) -> None:
    """After any SET, RESET, savepoint and end of transaction PgBeam knows what the server holds for this client."""
    settings, model = SessionSettings(BASE), Model()
    for action, name, value in steps:
        outside = not model.stack
        if action == "set":
            settings.change([SettingChange(SettingAction.SET, name, value)])
            model.now[name] = value
        elif action == "local":
            settings.change([SettingChange(SettingAction.SET, name, value, local=True)])
        elif action == "show":
            settings.change([SettingChange(SettingAction.SHOW, name)])
        elif action == "reset":
            settings.change([SettingChange(SettingAction.RESET, name)])
            model.reset(name)
        elif action == "reset all":
            settings.change([SettingChange(SettingAction.RESET, "all")])
            model.now = dict(BASE)
        elif action == "discard" and outside:
            settings.discard_all()
            model.now = dict(BASE)
        elif action == "begin":
            model.begin()
            continue
        elif action == "savepoint" and not outside:
            settings.savepoint(name)
            model.stack.append((name, deepcopy(model.now)))
        elif action == "rollback to" and model.find(name) is not None:
            settings.rollback_to(name)
            place = model.find(name)
            assert place is not None
            model.now = deepcopy(model.stack[place][1])
            del model.stack[place + 1 :]
        elif action in ("commit", "rollback") and not outside:
            settings.end_transaction(committed=action == "commit")
            model.end(committed=action == "commit")
        if outside:
            settings.end_transaction(committed=True)  # a statement on its own is a transaction on its own
        assert settings.now == model.now


def test_a_failed_statement_takes_its_settings_back() -> None:
    """`SET x = 1; SELECT 1/0` in one Query leaves nothing behind."""
    settings = SessionSettings({})
    settings.change([SettingChange(SettingAction.SET, "search_path", "a")])
    settings.end_transaction(committed=False)
    assert settings.now == {}


def test_a_value_that_only_the_server_knows_is_remembered_as_such() -> None:
    """What cannot be told to another server is named, until it is set to something else or rolled back."""
    settings = SessionSettings({})
    unknown = SettingChange(SettingAction.SET, "search_path", None, literal=False)
    settings.change([unknown])
    assert settings.unknown == {"search_path"}
    settings.end_transaction(committed=False)
    assert settings.unknown == frozenset()
    settings.change([unknown])
    settings.end_transaction(committed=True)
    settings.change([SettingChange(SettingAction.SET, "search_path", "a")])
    assert settings.unknown == frozenset()


def test_reset_all_leaves_the_role() -> None:
    """RESET ALL does not give back a role that was taken, as in PostgreSQL; SET SESSION AUTHORIZATION drops it."""
    settings = SessionSettings({})
    settings.change(
        [SettingChange(SettingAction.SET, "role", "boss"), SettingChange(SettingAction.SET, "timezone", "UTC")]
    )
    settings.change([SettingChange(SettingAction.RESET, "all")])
    assert settings.now == {"role": "boss"}
    settings.change([SettingChange(SettingAction.SET, "session_authorization", "other")])
    assert settings.now == {"session_authorization": "other"}


def test_characteristics_of_one_transaction_are_no_settings() -> None:
    """SET TRANSACTION ends with its transaction: no other server must be told."""
    settings = SessionSettings({})
    settings.change([SettingChange(SettingAction.SET, "transaction_isolation", "serializable")])
    assert settings.now == {}


def test_the_seed_of_random_numbers_is_the_servers() -> None:
    """No server can be told to reset it: whoever gets the server next must not be refused for that."""
    settings = SessionSettings({})
    settings.change([SettingChange(SettingAction.SET, "seed", "0.5")])
    settings.change([SettingChange(SettingAction.SET, "seed", None, literal=False)])
    assert settings.now == {}
    assert settings.unknown == frozenset()


def test_equal_settings_cost_nothing() -> None:
    """A server that has what the client wants is told nothing."""
    assert difference({"a": "1"}, {"a": "1"}) is None


def test_the_role_is_taken_last_and_given_back_first() -> None:
    """Whoever the server is now may not be allowed to set the rest."""
    sql = difference({"role": "guest", "timezone": "UTC"}, {"role": "boss", "search_path": "x"})
    assert sql is not None
    parts = sql.decode().split(";")
    assert parts[:2] == ["RESET ROLE", "RESET SESSION AUTHORIZATION"]
    assert parts[2] == 'RESET "timezone"'
    assert "search_path" in parts[3]
    assert "role" in parts[4]


@pytest.mark.parametrize("text", ["plain", "it's", "back\\slash", "both ' and \\'", "Ω"])
def test_literals_survive_quoting(text: str) -> None:
    """A value full of quotes and backslashes is one constant and nothing else."""
    quoted = literal(text).strip()
    if quoted.startswith("E"):
        quoted = quoted[1:].replace("\\\\", "\\")
    assert quoted[1:-1].replace("''", "'") == text


# pgbeam.* variables.


def ask(name: str, value: str | None) -> str | Refusal | None:
    """Owns `debug` (on, off) and `ttl` (a number)."""
    if name == "debug":
        return Refusal("22023", "bad") if value not in (None, "on", "off") else value or "off"
    if name == "ttl":
        return value or "60"
    return None


ACTIONS = st.lists(
    st.tuples(
        st.sampled_from(["set", "local", "default", "reset all", "begin", "commit", "rollback"]),
        st.sampled_from(["debug", "ttl"]),
        st.sampled_from(["on", "off"]),
    ),
    max_size=25,
)


@given(ACTIONS, st.booleans())
def test_variables_follow_transactions(actions: list[tuple[str, str, str]], given_at_startup: bool) -> None:
    """SET, SET LOCAL and RESET of pgbeam.* behave as for any PostgreSQL parameter."""
    startup = {"debug": "on"} if given_at_startup else {}
    defaults = {"debug": "off", "ttl": "60", **startup}
    variables = Variables(ask, startup)
    now, local, before, inside = dict(defaults), dict[str, str](), dict(defaults), False
    for action, name, value in actions:
        if action == "set":
            variables.set(name, value, local=False, in_transaction=inside)
            now[name] = value
            local.pop(name, None)
        elif action == "local":
            variables.set(name, value, local=True, in_transaction=inside)
            if inside:
                local[name] = value
        elif action == "default":
            variables.set(name, None, local=False, in_transaction=inside)
            now[name] = defaults[name]
            local.pop(name, None)
        elif action == "reset all":
            variables.reset_all(in_transaction=inside)
            now, local = dict(defaults), {}
        elif action == "begin" and not inside:
            inside, before = True, dict(now)
        elif action in ("commit", "rollback") and inside:
            variables.end_transaction(committed=action == "commit")
            now = now if action == "commit" else before
            inside, local = False, {}
        assert {each: variables.get(each) for each in defaults} == {**now, **local}


def test_unknown_and_bad_variables_say_so() -> None:
    """A typing error in pgbeam.* is an error as for any parameter, and changes nothing."""
    variables = Variables(ask, {})
    with pytest.raises(VariableError) as unknown:
        variables.get("nonsense")
    assert (unknown.value.sqlstate, unknown.value.message) == (
        "42704",
        'unrecognized configuration parameter "pgbeam.nonsense"',
    )
    with pytest.raises(VariableError) as bad:
        variables.set("debug", "maybe", local=False, in_transaction=False)
    assert bad.value.sqlstate == "22023"
    assert variables.peek("debug") is None


def test_a_bad_startup_option_is_an_error() -> None:
    """`options=-c pgbeam.debug=maybe` is refused at login."""
    with pytest.raises(VariableError):
        Variables(ask, {"debug": "maybe"})


def _set(name: str, value: str) -> SettingChange:
    return SettingChange(SettingAction.SET, name, value)


def test_more_settings_than_can_follow_are_not_kept() -> None:
    """A client that sets thousands of parameters costs PgBeam no more than one that sets 200, and is told apart."""
    settings = SessionSettings({})
    for number in range(MOST):
        settings.change([_set(f"app.v{number}", "x")])
    assert len(settings.now) == MOST
    assert not settings.too_many
    settings.change([_set(f"app.v{number}", "x") for number in range(5000)])
    assert len(settings.now) == MOST
    assert settings.too_many
    settings.discard_all()
    assert settings.now == {}
    assert not settings.too_many


def test_settings_of_great_length_are_not_kept() -> None:
    """Nor do long values pile up: what follows a session has to be told to each of its servers."""
    settings = SessionSettings({})
    settings.change([_set("app.small", "x")])
    settings.change([_set("app.large", "x" * MOST_BYTES)])
    assert settings.now == {"app.small": "x"}
    assert settings.too_many


def test_settings_that_somebody_has_do_not_change() -> None:
    """A server that was told a session's settings is equal to it until the session changes, and only then."""
    settings = SessionSettings(BASE)
    told = settings.now
    settings.savepoint("a")
    assert settings.now is told
    settings.change([_set("app.a", "x")])
    assert told == BASE
    settings.rollback_to("a")
    assert settings.now is told
