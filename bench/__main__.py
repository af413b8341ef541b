"""`python -m bench`: measure, print tables, write files."""

from __future__ import annotations

import signal
import sys
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from pathlib import Path
from types import FrameType

from bench import machine
from bench.errors import RunFailed, Skipped
from bench.places import NAMES
from bench.plot import draw
from bench.programs import compiled_pgbeam, postgres_programs, version_of
from bench.report import Report
from bench.rounds import perform
from bench.stage import Plan, Stage, stage, tell
from bench.works import GROUPS, Work, all_works
from pgbeam_core.errors import PgBeamError

IDLE_CLIENTS = 10_000
SCALE = 10


def main() -> int:
    """0 if all went well, 1 if something kept it from measuring; a goal that is missed is no failure."""
    args = _parser().parse_args()
    signal.signal(signal.SIGTERM, _leave)
    signal.signal(signal.SIGHUP, _leave)
    try:
        machine.check()
        report = _measure(args)
    except (RunFailed, PgBeamError) as error:
        tell(f"bench: {error}")
        return 1
    except KeyboardInterrupt:
        tell("bench: stopped")
        return 130
    _deliver(report, args)
    return 0


def _parser() -> ArgumentParser:
    parser = ArgumentParser(prog="python -m bench", description="Measure PgBeam beside other ways to PostgreSQL.")
    parser.add_argument(
        "--rows", type=_groups, default=GROUPS, metavar="A,B", help=f"of {','.join(GROUPS)} (default: all)"
    )
    parser.add_argument(
        "--only", default="", metavar="TEXT", help='only rows whose name holds this, e.g. "64 clients, simple"'
    )
    parser.add_argument("--seconds", type=_positive, help="length of one run (default: 5)")
    parser.add_argument("--rounds", type=_positive, help="runs of each way; medians are shown (default: 3)")
    parser.add_argument(
        "--quick", action="store_true", help="about a minute in all, to see that it works: a bad measure"
    )
    parser.add_argument(
        "--servers", type=_positive, default=20, help="connections to PostgreSQL a pool may have (default: 20)"
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="one more setting of PgBeam; may be given often"
    )
    parser.add_argument("--interpreted", action="store_true", help="run PgBeam as it is, without compiling its modules")
    parser.add_argument(
        "--postgres", default="auto", metavar="BIN", help="folder of PostgreSQL's programs, or embedded"
    )
    parser.add_argument("--no-install", action="store_true", help="leave out what is missing instead of installing it")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every sample there")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the tables there as well")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw the rates there, as PNG (needs matplotlib)")
    return parser


def _groups(text: str) -> tuple[str, ...]:
    chosen = tuple(word.strip() for word in text.split(",") if word.strip())
    if unknown := [word for word in chosen if word not in GROUPS]:
        raise ArgumentTypeError(f"no rows {', '.join(unknown)}: there are {', '.join(GROUPS)}")
    return chosen


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise ArgumentTypeError(f"{text} is not a whole number above 0")
    return int(text)


def _measure(args: Namespace) -> Report:
    idle = machine.allow_files(1_000 if args.quick else IDLE_CLIENTS)
    works = _works(args, idle)
    if not works:
        raise RunFailed(f'no row holds "{args.only}"')
    programs = postgres_programs(args.postgres)
    facts = machine.facts()
    plan = Plan(
        programs=programs,
        ways=frozenset(way for work in works for way in work.ways),
        scale=SCALE,
        seconds=args.seconds or (1 if args.quick else 5),
        rows=500_000 if args.quick else 2_000_000,
        servers=args.servers,
        clients=idle + 300,
        install=not args.no_install,
        pgbeam=tuple(args.set),
        packages=None if args.interpreted else _compiled(),
    )
    rounds = args.rounds or (1 if args.quick else 3)
    with stage(plan) as ready:
        results = [perform(ready, work, rounds) for work in works]
        return Report(results, facts | _versions(ready, programs) | _lengths(args, plan, rounds), ready.skipped)


def _compiled() -> Path | None:
    tell("Compiling PgBeam, if it is not compiled yet")
    try:
        return compiled_pgbeam()
    except RunFailed as reason:
        tell(f"PgBeam runs interpreted: {reason}")
        return None


def _works(args: Namespace, idle: int) -> list[Work]:
    if args.quick:
        works = all_works(select_clients=(1, 64), cached_clients=(64,), batch_rows=(1_000, 20_000), idle_clients=idle)
    else:
        works = all_works(idle_clients=idle)
    return [work for work in works if work.group in args.rows and args.only in work.name]


def _versions(ready: Stage, programs: Path) -> dict[str, str]:
    versions = {NAMES[way]: place.version for way, place in ready.places.items() if place.version}
    return {"PostgreSQL": version_of([str(programs / "postgres"), "--version"]), **versions}


def _lengths(args: Namespace, plan: Plan, rounds: int) -> dict[str, str]:
    lengths = {"runs": f"{rounds} × {plan.seconds} s", "copied rows": f"{plan.rows:,}", "servers": str(plan.servers)}
    return lengths | ({"settings of PgBeam": " ".join(args.set)} if args.set else {})


def _deliver(report: Report, args: Namespace) -> None:
    tables = report.markdown()
    print(tables, flush=True)
    if args.markdown:
        args.markdown.write_text(tables, encoding="utf-8")
    if args.json:
        args.json.write_text(report.json(), encoding="utf-8")
    if args.plot:
        try:
            draw(report.results, args.plot)
        except Skipped as reason:
            tell(str(reason))


def _leave(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
