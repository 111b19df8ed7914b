"""An archive is good, or the check says what is wrong with it and where."""

import hashlib
import json
import random
import re
import shutil
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from inference_store import client as istore
from inference_store.client.manifest import ManifestReader
from inference_store.client.verification import member_of
from inference_store.contract.archive import (
    LIMIT,
    MEMBER_NAME,
    Member,
    directory_end,
    directory_record,
    local_header,
)
from tests.client.archives import HEAD, MEMBERS, Building, plainly, write


def archived(**changed: Any) -> bytes:
    file = BytesIO()
    write(file, **changed).finish()
    return file.getvalue()


GOOD = archived()


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One file to write over: hypothesis can't have one per example."""
    return tmp_path_factory.mktemp("archives") / "archive.zip"


def refusal(content: bytes, path: Path) -> str:
    path.write_bytes(content)
    with pytest.raises(istore.ArchiveError) as raised:
        istore.verify_archive(path)
    return str(raised.value)


# --- Good ones ----------------------------------------------------------------------------------------------
def test_a_good_archive_gives_its_manifest(tmp_path: Path) -> None:
    (path := tmp_path / "a.zip").write_bytes(GOOD)
    manifest = istore.verify_archive(path)
    assert isinstance(manifest, istore.Manifest)
    assert [member.name for member in manifest.members] == [*MEMBERS]
    assert manifest.request.filters.data_source_filter == "kamera é"
    assert manifest.model_dump(include={"model_id", "format", "counts"}) == {
        "model_id": "harbour",
        "format": "archive",
        "counts": {"inputs": 2},
    }
    assert istore.check_archive(str(path)) == istore.ArchiveSummary(
        "harbour", "Object Detection", "archive", 2, len(MEMBERS) + 1, len(GOOD)
    )


def test_an_archive_of_nothing_is_good(tmp_path: Path) -> None:
    (path := tmp_path / "a.zip").write_bytes(archived(members={}))
    assert istore.verify_archive(path).members == []


def test_others_read_it_too(tmp_path: Path) -> None:
    (path := tmp_path / "a.zip").write_bytes(GOOD)
    with zipfile.ZipFile(path) as opened:
        assert opened.testzip() is None
        assert opened.namelist() == [*MEMBERS, "manifest.json"]
        assert {name: opened.read(name) for name in MEMBERS} == MEMBERS


@pytest.mark.skipif(shutil.which("unzip") is None, reason="there is no unzip")
def test_unzip_reads_it_too(tmp_path: Path) -> None:
    (path := tmp_path / "a.zip").write_bytes(GOOD)
    run = subprocess.run(["unzip", "-t", str(path)], capture_output=True, text=True, check=False)
    assert (run.returncode, "No errors detected" in run.stdout) == (0, True), run.stdout + run.stderr


# --- Any change of the bytes --------------------------------------------------------------------------------
@pytest.mark.parametrize("bit", range(8))
def test_every_flipped_bit_is_found(bit: int, scratch: Path) -> None:
    for position in range(len(GOOD)):
        broken = bytearray(GOOD)
        broken[position] ^= 1 << bit
        message = refusal(bytes(broken), scratch)
        assert re.search(r"\bbyte \d|manifest\.json|data/|inferences", message), (position, message)


def test_every_shortened_archive_is_found(scratch: Path) -> None:
    for length in range(len(GOOD)):
        assert refusal(GOOD[:length], scratch)
        assert refusal(GOOD[length + 1 :], scratch)


positions = st.integers(0, len(GOOD))


@settings(deadline=None)
@given(positions, st.binary(min_size=1, max_size=200))
@example(len(GOOD), b"\n")
@example(len(GOOD), GOOD)
@example(0, b"#!/bin/sh\n")
def test_inserted_bytes_are_found(scratch: Path, position: int, inserted: bytes) -> None:
    assert refusal(GOOD[:position] + inserted + GOOD[position:], scratch)


@settings(deadline=None)
@given(positions, positions, positions)
def test_moved_and_missing_bytes_are_found(scratch: Path, first: int, second: int, third: int) -> None:
    first, second, third = sorted((first, second, third))
    for broken in (
        GOOD[:first] + GOOD[second:third] + GOOD[first:second] + GOOD[third:],
        GOOD[:first] + GOOD[second:],
        GOOD[:second] + GOOD[first:],
    ):
        if broken != GOOD:
            assert refusal(broken, scratch)


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_anything_else_is_no_archive(scratch: Path, content: bytes) -> None:
    assert refusal(content, scratch)


def test_the_place_of_a_change_is_told(scratch: Path) -> None:
    def flipped(position: int) -> str:
        broken = bytearray(GOOD)
        broken[position] ^= 1
        return refusal(bytes(broken), scratch)

    name = GOOD.index(b"quay-2.png")
    assert flipped(name) == (f"byte {name:,}: the header of data/quay-2.png is not what the directory tells")
    content = GOOD.index(MEMBERS["data/quay-1.png"])
    assert flipped(content + 3) == (
        f"byte {content:,}: the 8 bytes of data/quay-1.png from here on do not have "
        "the CRC that the directory tells"
    )
    record = GOOD.index(b"PK\x01\x02") + 12  # its time
    assert flipped(record) == (
        f"byte {record:,}: the directory's record of data/quay-1.png is not as it should be"
    )
    end = len(GOOD) - 22
    assert flipped(end + 4) == f"byte {end + 4:,}: the archive's end is not as it should be"
    assert refusal(GOOD + b"abc", scratch) == f"byte {len(GOOD):,}: 3 bytes follow the archive's end"
    assert "cut short" in refusal(GOOD[:-1], scratch)
    assert refusal(b"", scratch) == "it is empty"
    assert refusal(b"PNG", scratch) == "it is no zip"


# --- Archives that fit together but are not ours ------------------------------------------------------------
def swap_listed(building: Building) -> None:
    building.listed[0], building.listed[1] = building.listed[1], building.listed[0]


def swap_members(building: Building) -> None:
    building.members[0], building.members[1] = building.members[1], building.members[0]


def rename(old: str, new: str) -> Callable[[Building], None]:
    def change(building: Building) -> None:
        for listed in building.listed:
            listed["name"] = new if listed["name"] == old else listed["name"]

    return change


def tell(**told: Any) -> Callable[[Building], None]:
    return lambda building: building.listed[1].update(told)


def head(**told: Any) -> Callable[[Building], None]:
    return lambda building: building.head.update(told)


CHANGES: dict[str, tuple[Callable[[Building], None], str]] = {
    "swapped in the manifest": (swap_listed, "lists 'data/quay-2.png' where data/quay-1.png stands"),
    "swapped in the directory": (swap_members, "data/quay-2.png begins at byte"),
    "not in the manifest": (lambda b: b.listed.pop(), "inferences.jsonl is not listed"),
    "only in the manifest": (
        lambda b: b.listed.append({"name": "x", "size": 0, "sha256": "0"}),
        "lists 'x', which is not there",
    ),
    "added after": (lambda b: b.add("data/quay-1.PNG", b""), "data/quay-1.PNG is there twice"),
    "there twice": (lambda b: b.add("data/empty.bin", b""), "data/empty.bin is there twice"),
    "an early manifest": (lambda b: b.add("manifest.json", b"{}"), "manifest.json is there twice"),
    "bytes between": (lambda b: b.file.write(b"\0") and None, "what is before it ends at"),
    "outside the folder": (lambda b: b.add("../evil", b""), "'../evil' is not a name"),
    "absolute": (lambda b: b.add("/etc/passwd", b""), "is not a name"),
    "a folder": (lambda b: b.add("data/", b""), "is not a name"),
    "hidden": (lambda b: b.add(".bashrc", b""), "is not a name"),
    "other names": (rename("data/quay-2.png", "data/quay-3.png"), "lists 'data/quay-3.png' where"),
    "another size": (tell(size=8), "data/quay-2.png: it has 9 bytes; manifest.json tells 8"),
    "another hash": (tell(sha256="0" * 64), "data/quay-2.png: its content has not the SHA-256"),
    "a size as text": (tell(size="9"), "manifest.json: size: "),
    "another version": (head(version=2), "its version is 2; this client reads 1"),
    "no count": (lambda b: b.head.pop("inference_count"), "manifest.json: inference_count: Field required"),
    "another count": (head(inference_count="many"), "manifest.json: inference_count: "),
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_no_export_writes_is_refused(name: str, scratch: Path) -> None:
    change, message = CHANGES[name]
    building = write(file := BytesIO())
    change(building)
    building.finish()
    assert message in refusal(file.getvalue(), scratch)


def test_nothing_may_stand_around_the_directory(scratch: Path) -> None:
    write(file := BytesIO()).finish()
    whole, count = file.getvalue(), len(MEMBERS) + 1
    begins = whole.index(b"PK\x01\x02")
    members, directory = whole[:begins], whole[begins:-22]
    for padding in (b"\0", directory):
        before = members + padding + directory + directory_end(count, len(directory), begins + len(padding))
        after = members + directory + padding + directory_end(count, len(directory + padding), begins)
        assert "they should end at" in refusal(before, scratch)
        assert "they should end at" in refusal(after, scratch)


def test_headers_that_agree_but_are_not_ours_are_refused(scratch: Path) -> None:
    def timed(made: Callable[[Member], bytes], at: int) -> Callable[[Member], bytes]:
        return lambda member: (made(member)[:at] + b"\x01") + made(member)[at + 1 :]

    header, record = timed(local_header, 10), timed(directory_record, 12)
    assert "not as it should be" in refusal(archived(header=header, record=record), scratch)
    assert "not what the directory tells" in refusal(archived(header=header), scratch)
    longer = archived(record=lambda member: directory_record(member) + b"c")
    assert "no whole record of the directory" in refusal(longer, scratch)


def test_the_manifest_must_be_last(scratch: Path) -> None:
    building = write(file := BytesIO())
    building.close()
    assert refusal(file.getvalue(), scratch) == "the last member is inferences.jsonl, not manifest.json"
    building = Building(file := BytesIO())
    building.close()
    assert refusal(file.getvalue(), scratch) == "the last member is none, not manifest.json"


@pytest.mark.parametrize(
    "manifest",
    [
        b"",
        b"[]",
        b"{}",
        b"{",
        b"nonsense",
        b'{"members": []}',
        b'{"members": [], "members": []}',
        b'{"members": [1]}',
        b'{"members": [{}]}',
        b'{"members": {}}',
        b'{"members": [',
        b'{"version": "\xff"}',
        b"{1: 2}",
        b'{"version": ' + b"[" * 100_000,
        b'{"version": ' + b"1" * 5_000 + b"}",
        plainly(HEAD, []) + b"x",
        b'{"model_id": "another",' + plainly(HEAD, [])[1:],
        b'{"members": [],' + plainly(HEAD, [])[1:],
        plainly(HEAD | {"request": {"filter": {}}}, []),
    ],
)
def test_what_is_no_manifest_is_refused(manifest: bytes, scratch: Path) -> None:
    building = Building(file := BytesIO())
    building.finish(lambda head, listed: manifest)
    assert refusal(file.getvalue(), scratch).startswith("manifest.json: ")


def test_a_manifest_may_be_spelt_otherwise(scratch: Path) -> None:
    building = write(file := BytesIO())
    building.finish(
        lambda head, listed: json.dumps({"members": listed, "later": 1} | head, indent=3).encode()
    )
    scratch.write_bytes(file.getvalue())
    assert istore.verify_archive(scratch).inference_count == 2


# --- Its parts ----------------------------------------------------------------------------------------------
sizes = st.integers(0, 2**63) | st.integers(LIMIT - 2, LIMIT + 2)


@settings(deadline=None)
@given(st.from_regex(MEMBER_NAME, fullmatch=True), sizes, sizes, st.integers(0, 2**32 - 1))
def test_a_record_is_read_back(name: str, offset: int, size: int, crc: int) -> None:
    member = Member(name, offset, size, crc)
    assert member_of(directory_record(member)) == member
    with_longer = replace(member, size=size + 1)
    assert member_of(directory_record(with_longer)) == with_longer


values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**20), 10**20) | st.text(max_size=20), st.lists, max_leaves=5
)


@settings(deadline=None)
@given(st.dictionaries(st.text(max_size=5), values, max_size=4), st.integers(0, 30), st.data())
def test_a_manifest_is_read_in_pieces_of_any_length(
    more: dict[str, Any], count: int, data: st.DataObject
) -> None:
    listed = [{"name": f"é{n}", "size": n, "sha256": "\n"} for n in range(count)]
    items = [*(more | HEAD | {"members": listed}).items()]
    document = dict(data.draw(st.permutations(items)))
    text = json.dumps(
        document, ensure_ascii=data.draw(st.booleans()), indent=data.draw(st.none() | st.just(1))
    )
    file, rng = BytesIO(text.encode()), random.Random(count)
    reader = ManifestReader(lambda most: file.read(rng.randint(1, 9)))
    assert [member.model_dump() for member in reader.members()] == listed
    assert reader.without_members().model_dump(exclude_none=True)["counts"] == HEAD["counts"]


# --- Large ones ---------------------------------------------------------------------------------------------
MEASURE = """
import sys, time
from inference_store.client import check_archive

def peak():
    line = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024

before = peak()
print(check_archive(sys.argv[1]).member_count, peak() - before)
"""


def grown(path: Path) -> tuple[int, float]:
    """How many members a check of its own process counts, and the MiB it grew by."""
    run = subprocess.run(
        [sys.executable, "-c", MEASURE, str(path)], capture_output=True, text=True, check=True
    )
    count, grown = run.stdout.split()
    return int(count), float(grown)


def many(path: Path, count: int) -> None:
    with open(path, "wb") as file:
        building = Building(file)
        for number in range(count):
            building.add(f"data/quay-{number:08}.png", b"%d" % number)
        building.finish()


def test_more_members_than_a_small_directory_counts(tmp_path: Path) -> None:
    many(path := tmp_path / "many.zip", 65_536)
    count, mib = grown(path)
    assert count == 65_537
    assert mib < 40
    with zipfile.ZipFile(path) as opened:
        assert len(opened.namelist()) == 65_537

    content = bytearray(path.read_bytes())
    for position in random.Random(1).sample(range(len(content)), 3) + [
        len(content) - at for at in (30, 50, 90)
    ]:
        content[position] ^= 4
        assert refusal(bytes(content), path)
        content[position] ^= 4


@pytest.mark.soak
def test_two_hundred_thousand_members_take_little_memory(tmp_path: Path) -> None:
    many(path := tmp_path / "many.zip", 200_000)
    count, mib = grown(path)
    assert count == 200_001
    assert mib < 60


@pytest.mark.soak
def test_an_archive_beyond_four_gigabytes(tmp_path: Path) -> None:
    zeros, size = bytes(2**20), 2**32 + 5
    digest, crc = hashlib.sha256(), 0
    for at in range(0, size, len(zeros)):
        piece = zeros[: size - at]
        digest.update(piece)
        crc = zlib.crc32(piece, crc)
    path = tmp_path / "sparse.zip"
    with open(path, "wb") as file:
        building = write(file)
        member = Member("data/large.bin", file.tell(), size, crc)
        file.write(local_header(member))
        file.seek(size, 1)
        building.members.append(member)
        building.listed.append({"name": member.name, "size": size, "sha256": digest.hexdigest()})
        building.add("data/last.bin", b"beyond")
        building.finish()
    assert istore.verify_archive(path).members[-2].size == size
    with zipfile.ZipFile(path) as opened:
        assert opened.read("data/last.bin") == b"beyond"
        assert opened.getinfo("data/large.bin").file_size == size
    with open(path, "r+b") as file:
        file.seek(2**32)
        file.write(b"\x01")
    with pytest.raises(istore.ArchiveError, match=r"data/large\.bin"):
        istore.verify_archive(path)
