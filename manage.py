#!/usr/bin/env python
"""Django's command line for the inference store."""

import os
import sys


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "inference_store.settings")
    try:
        from django.core.management import execute_from_command_line
    except ImportError as error:
        raise SystemExit(
            "Django is not installed in this environment: run `make up` (or `make .venv`) first."
        ) from error
    from inference_store import calling

    with calling.serving(calling.of_command()):
        execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
