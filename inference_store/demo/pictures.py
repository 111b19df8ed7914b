"""The photographs that lie inside the wheels, and the frames that a camera would take of them."""

from dataclasses import dataclass
from functools import cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from skimage import data
from sklearn.datasets import load_sample_images

Picture = NDArray[np.uint8]
JPEG_QUALITY = 88

IN_SKIMAGE = (
    "astronaut",
    "camera",
    "chelsea",
    "coffee",
    "rocket",
    "brick",
    "grass",
    "gravel",
    "moon",
    "clock",
)


def bundled(name: str) -> NDArray[Any]:
    """What scikit-image calls by that name, as it comes."""
    picture: NDArray[Any] = getattr(data, name)()
    return picture


@cache
def photograph(name: str) -> Picture:
    """A photograph by name, as RGB."""
    if name in ("china", "flower"):
        pictures = load_sample_images()
        files = [str(file).rsplit("/", 1)[-1] for file in pictures.filenames]
        return as_rgb(pictures.images[next(i for i, file in enumerate(files) if name in file)])
    return as_rgb(bundled(name))


def as_rgb(picture: NDArray[Any]) -> Picture:
    if picture.ndim == 2:
        picture = np.repeat(picture[:, :, None], 3, axis=2)
    return np.ascontiguousarray(picture[:, :, :3], dtype=np.uint8)


def as_gray(picture: Picture) -> Picture:
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), dtype=np.uint8)


def png(picture: Picture) -> bytes:
    return _encoded(".png", picture, [cv2.IMWRITE_PNG_COMPRESSION, 3])


def jpeg(picture: Picture) -> bytes:
    return _encoded(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])


def _encoded(kind: str, picture: Picture, options: list[int]) -> bytes:
    done, buffer = cv2.imencode(kind, picture if picture.ndim == 2 else picture[:, :, ::-1], options)
    if not done:
        raise ValueError(f"this picture can't be written as {kind}")
    return bytes(buffer)


@dataclass(frozen=True, slots=True)
class Frame:
    """What a camera saw: the picture, and how it was taken."""

    picture: Picture
    zoom: float
    gain: float
    flipped: bool

    @property
    def brightness(self) -> float:
        return round(float(self.picture.mean()) / 255, 4)

    @property
    def metadata(self) -> dict[str, Any]:
        return {"zoom": self.zoom, "exposure": {"gain": self.gain, "flipped": self.flipped}}


def take(
    picture: Picture,
    chance: np.random.Generator,
    size: tuple[int, int],
    zoom: tuple[float, float] = (1.0, 2.2),
    degrees: float = 0.0,
    light: tuple[float, float] = (0.65, 1.25),
) -> Frame:
    """A frame of `size` (width, height): zoomed, panned, turned, flipped, lit, with a sensor's noise.

    Zoom 1 is the largest frame that fits; a turned one may look past the edge, where it sees a mirror.
    """
    width, height = size
    tall, wide = picture.shape[:2]
    by = round(float(chance.uniform(*zoom)), 3)
    scale = max(width / wide, height / tall) * by
    free_x, free_y = max(wide * scale - width, 0), max(tall * scale - height, 0)
    left, top = free_x * float(chance.random()), free_y * float(chance.random())
    turn = float(chance.uniform(-degrees, degrees)) if degrees else 0.0
    centre = ((left + width / 2) / scale, (top + height / 2) / scale)
    matrix = cv2.getRotationMatrix2D(centre, turn, scale)
    matrix[:, 2] += np.array([width / 2, height / 2]) - np.array(centre)
    kind = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    seen = cv2.warpAffine(picture, matrix, size, flags=kind, borderMode=cv2.BORDER_REFLECT_101)
    flipped = bool(chance.random() < 0.5) and not degrees
    if flipped:
        seen = seen[:, ::-1]
    gain = round(float(chance.uniform(*light)), 3)
    noise = chance.normal(0, 2.0, seen.shape[:2])
    if seen.ndim == 3:
        noise = noise[:, :, None]
    lit = np.clip(seen.astype(np.float32) * gain + noise, 0, 255).astype(np.uint8)
    return Frame(np.ascontiguousarray(lit), by, gain, flipped)
