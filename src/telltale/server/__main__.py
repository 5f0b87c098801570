"""`python -m telltale.server`: the live server of the site that `DJANGO_SETTINGS_MODULE` names."""

import sys
from argparse import ArgumentParser

import django
from django.core.checks import ERROR, run_checks


def main() -> int:
    """Serve until told to stop; return the exit code."""
    django.setup()
    from telltale.server.options import EXIT_CANNOT_SERVE, CannotServe, Options
    from telltale.server.processes import serve

    parser = ArgumentParser(prog="python -m telltale.server", description=__doc__)
    Options.add_to(parser)
    errors = [message for message in run_checks(tags=["telltale"]) if message.level >= ERROR]
    try:
        if errors:
            raise CannotServe("\n".join(map(str, errors)))
        serve(Options.of(vars(parser.parse_args())))
    except CannotServe as error:
        sys.stderr.write(f"{error}\n")
        return EXIT_CANNOT_SERVE
    return 0


if __name__ == "__main__":
    sys.exit(main())
