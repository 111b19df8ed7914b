"""The shipped units: right by systemd's own judgement, hardened alike, and their commands work."""

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from inference_store import celery
from tests.cast import Cast
from tests.deploy.deployed import ROOT, Deployed, commands, unit
from tests.making import make_model, make_upload
from tests.workers import Program, wait_until

UNITS = sorted(path.name for path in (ROOT / "deploy/systemd").iterdir())
SERVICES = [name for name in UNITS if name.endswith(".service")]
WORST_EXPOSURE = 2.0


def analyze(*words: object) -> "subprocess.CompletedProcess[str]":
    if shutil.which("systemd-analyze") is None:
        message = "there is no systemd-analyze (Debian: apt install systemd)"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(message)
    command = ["systemd-analyze", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The units as they are, but that what they execute lies here."""
    place = tmp_path_factory.mktemp("units")
    for name in UNITS:
        text = (ROOT / "deploy/systemd" / name).read_text()
        (place / name).write_text(text.replace("/opt/inference-store", str(ROOT)))
    return place


def test_systemd_finds_no_fault(installed: Path) -> None:
    found = analyze("verify", "--man=no", *(installed / name for name in UNITS))
    assert (found.returncode, found.stdout + found.stderr) == (0, "")


@pytest.mark.parametrize("name", SERVICES)
def test_little_is_left_to_an_intruder(installed: Path, name: str) -> None:
    found = analyze("security", "--offline=true", "--no-pager", installed / name)
    told = re.search(r"Overall exposure level for \S+: ([0-9.]+)", found.stdout)
    assert told, found.stdout + found.stderr
    assert float(told[1]) <= WORST_EXPOSURE


def hardening(name: str) -> str:
    text = (ROOT / "deploy/systemd" / name).read_text()
    return re.split(r"\n\n", text[text.index("NoNewPrivileges=") :])[0].strip()


def test_all_services_are_hardened_alike() -> None:
    assert len({hardening(name) for name in SERVICES}) == 1
    for name in SERVICES:
        found = unit(name)
        assert found["User"] == ["inference-store"]
        assert found["EnvironmentFile"] == ["/etc/inference-store/env"]


def test_limits_are_the_stores_own(settings: Any) -> None:
    """nginx may not refuse what the store takes, nor spool what it does not."""
    text = (ROOT / "deploy/nginx/inference-store.conf").read_text()
    sizes = re.findall(r"client_max_body_size ([0-9]+)m;", text)
    limits = [
        settings.DATA_UPLOAD_MAX_MEMORY_SIZE,
        settings.INGEST_BODY_MAXIMUM_BYTES,
        settings.BLOB_MAXIMUM_BYTES,
    ]
    assert [int(size) * 2**20 for size in sizes] == limits


class Unit(Program):
    """A unit's command; what it keeps lies in `home`."""

    def __init__(self, name: str, ready_when: str, home: Path) -> None:
        super().__init__(home / f"{name}.log")
        (words,) = commands(name)
        words = [word.replace("${WORKER_CONCURRENCY}", "1") for word in words]
        words = [word.replace("/var/lib/inference-store", str(home)) for word in words]
        # "-l info" for "-l warning": what it does is to be seen.
        self.command = [Path(words[0]).name, *words[1:], "-l", "info"]
        self.ready_when = ready_when


@pytest.mark.django_db(transaction=True)
def test_worker_and_scheduler(tmp_path: Path) -> None:
    celery.app.control.purge()
    worker = Unit("inference-store-worker.service", " ready.", tmp_path)
    beat = Unit("inference-store-beat.service", "beat: Starting", tmp_path)
    try:
        for program in (worker, beat):
            program.start()
        worker.ready()
        wait_until(lambda: "inference_store.resume_jobs" in worker.said(), "the scheduler's word has arrived")
        wait_until(lambda: list(tmp_path.glob("beat-schedule*")), "the schedule is written down")
    finally:
        for program in (beat, worker):
            program.stop()


@pytest.mark.django_db(transaction=True)
def test_the_database_is_brought_up_to_date(deployed: Deployed) -> None:
    migrate, _ = commands("inference-store-migrate.service")
    done = subprocess.run(
        migrate, cwd=ROOT, env=deployed.environment, capture_output=True, text=True, check=True
    )
    assert "No migrations to apply" in done.stdout


def test_backups_are_linked_and_the_oldest_go(deployed: Deployed, world: Cast, tmp_path: Path) -> None:
    """A backup each night, two of which are kept; what one that was cut off has left goes."""
    content = b"the input"
    key = make_upload(make_model(), content)
    _back_up(deployed, tmp_path)
    (made,) = tmp_path.iterdir()
    made.rename(tmp_path / "2026-11-02T023000Z")
    (tmp_path / "2026-11-01T023000Z").mkdir()
    unfinished = tmp_path / "2026-11-01T023001Z.unfinished"
    unfinished.mkdir()
    os.utime(unfinished, (0, 0))
    _back_up(deployed, tmp_path)
    oldest, newest = sorted(path.name for path in tmp_path.iterdir())
    assert oldest == "2026-11-02T023000Z"
    assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d{6}Z", newest)
    inputs = list(tmp_path.rglob(key.split("/")[1]))
    assert len(inputs) == 2
    assert inputs[0].samefile(inputs[1])
    assert inputs[0].read_bytes() == content


def _back_up(deployed: Deployed, place: Path) -> None:
    (command,) = commands("inference-store-backup.service")
    told = {"BACKUPS": str(place), "BACKUPS_KEPT": "2"}
    done = subprocess.run(command, cwd=ROOT, env=deployed.environment | told, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_example_of_an_environment_names_what_there_is() -> None:
    text = (ROOT / "deploy/env.example").read_text()
    named = set(re.findall(r"^#?([A-Z0-9_]+)=", text, re.MULTILINE))
    settings = (ROOT / "docs/settings.md").read_text()
    of_units = {"WEB_CONCURRENCY", "WORKER_CONCURRENCY"}
    assert not [name for name in named - of_units if f"`{name}`" not in settings]
    assert named >= {"PUBLIC_URL", "DATABASE_URL", "REDIS_URL", "SECRET_KEY", "AUDIT_KEY", *of_units}


def test_the_page_names_files_that_are_shipped() -> None:
    page = (ROOT / "docs/deploy.md").read_text()
    for path in re.findall(r"`(deploy/[^`]*)`", page):
        assert list(ROOT.glob(path)), path
    # One line enables all that runs.
    for name in UNITS:
        stem = name.removesuffix(".service") if name.endswith(".service") else name
        assert stem in page, name
