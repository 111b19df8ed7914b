"""The command `inference-store`: what is done with archives where there is no store."""

import argparse
import os
import sys
from collections.abc import Sequence

from inference_store.client.errors import ArchiveError
from inference_store.client.verification import ArchiveSummary, check_archive


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; its exit status, 1 where an archive is not good."""
    parser = argparse.ArgumentParser(prog="inference-store", description="Tools that need no store.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    verify = commands.add_parser(
        "verify",
        help="check archives byte for byte",
        description="Check that every byte of an archive is as the export wrote it. "
        "The exit status is 1 if one is not good or can't be read.",
    )
    verify.add_argument("archives", nargs="+", metavar="ARCHIVE", help="the zip that an export made")
    given = parser.parse_args(arguments)
    return max([_verify(path) for path in given.archives])


def _verify(path: str) -> int:
    # A path may hold bytes that no character stands for.
    shown = os.fsencode(path).decode(errors="replace")
    try:
        found = check_archive(path)
    except ArchiveError as error:
        return _complain(shown, f"not good: {error}")
    except OSError as error:
        return _complain(shown, f"can't be read: {error.strerror or error}")
    sys.stdout.write(f"{shown}: good, {_told(found)}\n")
    sys.stdout.flush()
    return 0


def _complain(path: str, message: str) -> int:
    sys.stderr.write(f"{path}: {message}\n")
    return 1


def _told(found: ArchiveSummary) -> str:
    inferences = _counted(found.inference_count, "inference")
    return f"{inferences}, {_counted(found.member_count, 'member')}, {_size(found.size)}"


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def _size(count: int) -> str:
    size = float(count)
    for unit in ("bytes", "kB", "MB", "GB"):
        # 999.95 would be written 1000.0.
        if size < 999.95:
            return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"
