"""What COCO and YOLO have in common: pictures for training, with what was seen in them."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import BinaryIO, ClassVar, TypeAlias

from PIL import Image

from inference_store.archive.base import Copy, Output, Plan, Writer, file_name, refuse_task
from inference_store.contract.entries import Entry
from inference_store.models import RegisteredModel
from inference_store.query.whole import WholeInference

ORIENTATION, UPRIGHT = 0x0112, 1
"""Of EXIF."""
TURNABLE = {"image/jpeg": "JPEG", "image/tiff": "TIFF", "image/webp": "WEBP"}
"""As Pillow calls them. Of a PNG it would read all pixels before it knew."""
Ring: TypeAlias = Sequence[tuple[float, float]]


class PictureWriter(Writer):
    """Leaves out, and counts, what can't be learnt from: no picture of known size, or nothing said of it."""

    copies_inputs = True
    needs_labels = True
    name: ClassVar[str]
    tasks: ClassVar[tuple[str, ...]]

    def __init__(self, plan: Plan, counters: dict[str, int]) -> None:
        super().__init__(plan, counters)
        self.class_of = {label: position for position, label in enumerate(plan.labels)}

    @classmethod
    def refuse_unfit(cls, model: RegisteredModel) -> None:
        refuse_task(model, cls.name, cls.tasks)

    def inference(self, whole: WholeInference) -> Iterator[Output]:
        picture = whole.input
        if picture is None or not picture.width or not picture.height:
            self.counters["skipped_without_picture"] += 1
        elif not whole.has_list:
            self.counters["skipped_without_list"] += 1
        else:
            self.counters["images"] += 1
            yield Copy(f"images/{file_name(whole)}")
            yield from self.picture(whole, picture.width, picture.height)

    def note_copied(self, whole: WholeInference, source: BinaryIO) -> None:
        """Whether it says that it is to be shown turned: geometries are of its pixels as they are stored."""
        if whole.input is None or whole.input.media_type not in TURNABLE:
            return
        # Only what stands before the pixels is read. What is no such picture after all says nothing.
        with suppress(Exception), Image.open(source, formats=list(TURNABLE.values())) as picture:
            if picture.getexif().get(ORIENTATION, UPRIGHT) > UPRIGHT:
                self.counters["turned_pictures"] += 1

    def classed(self, whole: WholeInference) -> Iterator[tuple[int, Entry]]:
        """The entries, each with the position of its label."""
        for entry in whole.entries:
            if (position := self.class_of.get(entry.label)) is not None:
                yield position, entry
            else:
                # Of an inference that was deleted when the labels were read, and restored since.
                self.counters["skipped_entries_without_class"] += 1

    def picture(self, whole: WholeInference, width: int, height: int) -> Iterator[Output]:
        """What is said of a picture of that size."""
        raise NotImplementedError


def signed_area(ring: Ring) -> float:
    """Of a polygon: positive where it runs clockwise on the screen."""
    return sum(x0 * y1 - x1 * y0 for (x0, y0), (x1, y1) in zip(ring, [*ring[1:], ring[0]], strict=True)) / 2
