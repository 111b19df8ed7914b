"""An export is made: its set is fixed, then written batch by batch, then closed.

Each batch is durable in the draft before its row says so. A worker that takes over cuts the draft back to
what the row says and goes on, and since a writer keeps nothing but its counters, the same bytes come out.
"""

import hashlib
import zlib
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from io import BufferedReader
from typing import Any
from uuid import UUID

import orjson
from django.db.models.functions import Now

from inference_store import blobs
from inference_store.archive import WRITERS, Plan, Writer
from inference_store.archive.base import Copy, File, Output, Piece
from inference_store.contract.archive import (
    MANIFEST,
    MANIFEST_VERSION,
    Member,
    directory_end,
    directory_record,
    local_header,
)
from inference_store.contract.errors import Refusal
from inference_store.contract.jobs import NewExportTaskRequest
from inference_store.models import Blob, Export, ExportBatch, JobState
from inference_store.models.job import hence
from inference_store.query.whole import WholeInference, whole_inferences
from inference_store.services import jobs
from inference_store.services.commits import after_commit
from inference_store.services.export_set import fix_set, plan_of
from inference_store.services.exports import discard_unfinished, kept_seconds

READ_WHOLE_BYTES = 4 * 2**20
"""Inputs up to this size are read once, into memory; larger ones twice, piece by piece."""

READ_AT_ONCE = 100
"""Inferences in memory: their lists may be long."""

ARCHIVE, DIRECTORY, MEMBERS = "archive", "directory", "members"


def run(pk: UUID) -> None:
    """Go on with an export, as far as one turn at the queue goes."""
    making = Making()
    try:
        jobs.work(Export, pk, making.step)
    finally:
        making.close()
    export = Export.objects.filter(pk=pk).first()
    if export is not None:
        discard_unfinished(export)


class Making:
    """An export being made, whose draft stays open from one step to the next."""

    def __init__(self) -> None:
        self._draft: blobs.AnyDraft | None = None

    def close(self) -> None:
        if self._draft is not None:
            self._draft.close()

    def step(self, export: Export) -> bool:
        """One step; False when the export has finished."""
        if export.plan is None:
            _fix(export)
            return True
        if export.archive_key is not None and (size := blobs.size(export.archive_key)) is not None:
            _complete(export, export.archive_key, size)
            return False
        try:
            draft = self._draft = self._draft or blobs.open_draft(str(export.pk), export.lengths)
        except blobs.DraftLostError:
            _begin_again(export)
            return True
        except blobs.DraftBusyError:
            raise jobs.ClaimLostError from None  # its last worker still lives
        batch = ExportBatch.objects.filter(export=export, number=export.batches_done).first()
        if batch is not None:
            _write_batch(export, batch, draft)
        else:
            _close(export, draft)
        return True


def _writer(export: Export) -> Writer:
    return WRITERS[export.format](Plan.from_json(export.plan or {}), export.counters)


def _fix(export: Export) -> None:
    request = NewExportTaskRequest.model_validate(export.request)
    writer = WRITERS[export.format]
    with jobs.progress(export) as held:
        held.expected_count = fix_set(held, request, writer)
        held.plan = plan_of(held, request, writer).as_json()


def _begin_again(export: Export) -> None:
    """The draft is gone, with the machine it was on, or by hand."""
    with jobs.progress(export) as held:
        held.batches_done, held.progress_count, held.lengths, held.counters = 0, 0, {}, {}


# --- A batch ------------------------------------------------------------------------------------------------
def _write_batch(export: Export, batch: ExportBatch, draft: blobs.AnyDraft) -> None:
    writer, written = _writer(export), 0
    for start in range(0, len(batch.keys), READ_AT_ONCE):
        for whole in whole_inferences(export.registered_model, batch.keys[start : start + READ_AT_ONCE]):
            _write_inference(writer, whole, draft)
            written += 1
    for output in writer.end_of_batch(batch.number):
        _put(output, draft, None)
    lengths = draft.commit()
    with jobs.progress(export) as held:
        held.lengths, held.counters = lengths, dict(writer.counters)
        held.batches_done = batch.number + 1
        held.progress_count += written
        # What was deleted since the set was fixed is not to be expected any more.
        held.expected_count -= len(batch.keys) - written


def _write_inference(writer: Writer, whole: WholeInference, draft: blobs.AnyDraft) -> None:
    source = _open(whole) if writer.copies_inputs else None
    if source is None:
        # Its bytes went after its row was read, or are not asked for.
        whole = replace(whole, input=None) if writer.copies_inputs else whole
        for output in writer.inference(whole):
            _put(output, draft, None)
        return
    with source:
        for output in writer.inference(whole):
            if isinstance(output, Copy):
                writer.note_copied(whole, source)
                source.seek(0)
            _put(output, draft, source)


def _open(whole: WholeInference) -> BufferedReader | None:
    try:
        return blobs.open_blob(whole.input.key) if whole.input is not None else None
    except Refusal:
        return None


def _put(output: Output, draft: blobs.AnyDraft, source: BufferedReader | None) -> None:
    if isinstance(output, Piece):
        draft.append(f"stream-{output.stream}", output.content)
    elif isinstance(output, File):
        _add(draft, output.name, lambda: [output.content])
    elif isinstance(output, Copy) and source is not None:
        _add(draft, output.name, _reader(source))


def _reader(source: BufferedReader) -> Callable[[], Iterable[bytes]]:
    """The content of a file, as often as it is asked for."""
    beginning = source.read(READ_WHOLE_BYTES + 1)
    if len(beginning) <= READ_WHOLE_BYTES:
        return lambda: [beginning]

    def pieces() -> Iterable[bytes]:
        source.seek(0)
        while piece := source.read(blobs.PIECE_BYTES):
            yield piece

    return pieces


# --- Members ------------------------------------------------------------------------------------------------
def _add(draft: blobs.AnyDraft, name: str, content: Callable[[], Iterable[bytes]]) -> None:
    """Append a member; what it is made of is asked for twice, as its header stands before it."""
    digest, crc, size = hashlib.sha256(), 0, 0
    for piece in content():
        digest.update(piece)
        crc, size = zlib.crc32(piece, crc), size + len(piece)
    member = Member(name, draft.size(ARCHIVE), size, crc)
    draft.append(ARCHIVE, local_header(member))
    for piece in content():
        draft.append(ARCHIVE, piece)
    draft.append(DIRECTORY, directory_record(member))
    told = {"name": name, "size": size, "sha256": digest.hexdigest()}
    draft.append(MEMBERS, b",\n" + orjson.dumps(told))


def _close(export: Export, draft: blobs.AnyDraft) -> None:
    """Write what stands after the inferences, and put the archive in its place."""
    writer = _writer(export)
    for joined in writer.closing():
        _add(draft, joined.name, partial(_joined, draft, joined.parts))
    opening = orjson.dumps(_manifest(export, writer))
    _add(draft, MANIFEST, partial(_listing, draft, opening))
    _end(draft)
    key = export.archive_key or blobs.new_key(export.registered_model_id)
    with jobs.progress(export) as held:
        # Named before it is there: a crash in between leaves a name to look for, not an orphan.
        held.archive_key = key
        row = {"registered_model": export.registered_model, "kind": Blob.Kind.ARCHIVE}
        Blob.objects.get_or_create(key=key, defaults=row | {"media_type": "application/zip"})
    draft.keep(ARCHIVE, key)


def _joined(draft: blobs.AnyDraft, parts: list[bytes | str]) -> Iterable[bytes]:
    for part in parts:
        if isinstance(part, bytes):
            yield part
        else:
            yield from draft.pieces(f"stream-{part}")


def _manifest(export: Export, writer: Writer) -> dict[str, Any]:
    """The manifest without its members. Nothing in it tells one export of a set from another."""
    return {
        "version": MANIFEST_VERSION,
        "format": export.format,
        "model_id": export.registered_model.model_id,
        "task_type": export.registered_model.task_type,
        "request": export.request,
        "inference_count": export.progress_count,
        "counts": dict(writer.counters),
    }


def _listing(draft: blobs.AnyDraft, opening: bytes) -> Iterable[bytes]:
    yield opening.removesuffix(b"}") + b',"members":['
    for position, piece in enumerate(draft.pieces(MEMBERS)):
        yield piece if position else piece.removeprefix(b",")
    yield b"\n]}\n"


def _end(draft: blobs.AnyDraft) -> None:
    count = sum(piece.count(b"\n") for piece in draft.pieces(MEMBERS))
    offset, size = draft.size(ARCHIVE), draft.size(DIRECTORY)
    for piece in draft.pieces(DIRECTORY):
        draft.append(ARCHIVE, piece)
    draft.append(ARCHIVE, directory_end(count, size, offset))


def _complete(export: Export, key: str, size: int) -> None:
    """Say that it is complete: the whole archive is in its place, durably."""
    with jobs.progress(export) as held:
        held.state, held.finished_at = JobState.COMPLETE.value, Now()
        held.size, held.expires_at = size, hence(kept_seconds())
        Blob.objects.filter(key=key).update(uploaded_at=Now(), size=size)
        held.batches.all().delete()
        after_commit(blobs.discard_draft, str(export.pk))
