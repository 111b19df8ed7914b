"""`inference-store verify`: what it prints, and its exit status."""

import os
import subprocess
import sys
import tomllib
from importlib import import_module
from io import BytesIO
from pathlib import Path

import pytest

from inference_store.client.command import main
from tests.client.archives import HEAD, Building, write

ROOT = Path(__file__).parents[2]


def archive(path: Path, count: int = 2, size: int = 9) -> Path:
    with open(path, "wb") as file:
        building = Building(file, head=HEAD | {"inference_count": count})
        building.add("data/one.png", b"\xff" * size)
        building.finish()
    return path


def test_a_good_archive_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = archive(tmp_path / "a.zip", count=1_234, size=1_234_567)
    assert main(["verify", str(path)]) == 0
    assert capsys.readouterr() == (f"{path}: good, 1,234 inferences, 2 members, 1.2 MB\n", "")


@pytest.mark.parametrize(
    ("size", "told"),
    [(0, "{0} bytes"), (1_000, "{0:.1f} kB"), (999_420, "1.0 MB"), (2_345_678, "2.3 MB")],
)
def test_a_size_is_told_in_its_unit(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], size: int, told: str
) -> None:
    path = archive(tmp_path / "a.zip", count=1, size=size)
    total = path.stat().st_size
    assert main(["verify", str(path)]) == 0
    told = told.format(total if total < 1_000 else total / 1_000)
    assert capsys.readouterr().out == f"{path}: good, 1 inference, 2 members, {told}\n"


def test_each_archive_is_told_of(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good, bad = archive(tmp_path / "good.zip"), archive(tmp_path / "bad.zip")
    content = bytearray(bad.read_bytes())
    content[45] ^= 1
    bad.write_bytes(content)
    assert main(["verify", str(bad), str(good)]) == 1
    out, err = capsys.readouterr()
    assert out.startswith(f"{good}: good, ")
    assert err.startswith(f"{bad}: not good: byte 42: the 9 bytes of data/one.png from here on")
    assert main(["verify", str(good), str(bad)]) == 1


def test_what_cannot_be_read_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (text := tmp_path / "notes.txt").write_text("no zip")
    missing = tmp_path / "missing.zip"
    os.mkfifo(pipe := tmp_path / "pipe")
    for path, message in (
        (text, "not good: it is no zip"),
        (missing, "can't be read: No such file or directory"),
        (tmp_path, "not good: it is not a file"),
        (pipe, "not good: it is not a file"),
        (text / "below", "can't be read: Not a directory"),
    ):
        assert main(["verify", str(path)]) == 1
        assert capsys.readouterr() == ("", f"{path}: {message}\n")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_one_may_not_read_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (path := archive(tmp_path / "a.zip")).chmod(0)
    assert main(["verify", str(path)]) == 1
    assert capsys.readouterr().err == f"{path}: can't be read: Permission denied\n"


@pytest.mark.parametrize("arguments", [[], ["verify"], ["verify", "--fast", "a.zip"], ["check", "a.zip"]])
def test_wrong_usage_is_two(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as raised:
        main(arguments)
    assert raised.value.code == 2
    assert "usage: inference-store" in capsys.readouterr().err


def test_it_needs_neither_django_nor_a_store(tmp_path: Path) -> None:
    path = os.fsencode(tmp_path) + b"/caf\xe9.zip"
    write(file := BytesIO()).finish()
    with open(path, "wb") as opened:
        opened.write(file.getvalue())
    blocked = "import sys; sys.modules['django'] = None; sys.argv[0] = 'inference-store'; "
    script = blocked + "import runpy; runpy.run_module('inference_store.client', run_name='__main__')"
    run = subprocess.run(
        [sys.executable, "-c", script, "verify", path], capture_output=True, check=False, env={}, cwd=ROOT
    )
    assert (run.returncode, run.stderr) == (0, b"")
    assert run.stdout.decode().endswith("caf\ufffd.zip: good, 2 inferences, 5 members, 1.3 kB\n")


def test_the_console_script_is_it() -> None:
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    module, _, name = scripts["inference-store"].partition(":")
    assert getattr(import_module(module), name) is main
