"""`pgbeam projects`: a subcommand that lists what the settings know."""

from argparse import ArgumentParser, Namespace

from pgbeam_core import Command, hookimpl


def _configure(parser: ArgumentParser) -> None:
    parser.add_argument("--addresses", action="store_true", help="with the addresses of their servers")


def _run(args: Namespace) -> int:
    for project in args.settings.projects.values():
        print(project.name, project.primary.address if args.addresses else "")
    return 0


@hookimpl
def commands() -> list[Command]:
    return [Command("projects", "list the projects in the settings", _configure, _run)]
