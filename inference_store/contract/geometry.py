"""What the geometries of entries mean: oriented boxes, and COCO's run lengths."""

import math


def oriented_corners(box: dict[str, float], width: int, height: int) -> list[tuple[float, float]]:
    """An oriented box's corners in pixels: sides are normalised to the picture, the angle turns in pixels."""
    # float: what came as 1e300 is read from the database as a whole number.
    x, y = float(box["cx"]) * width, float(box["cy"]) * height
    half_width, half_height = float(box["w"]) * width / 2, float(box["h"]) * height / 2
    cos, sin = math.cos(box["r"]), math.sin(box["r"])
    corners = [(-half_width, -half_height), (half_width, -half_height)]
    corners += [(half_width, half_height), (-half_width, half_height)]
    return [(x + dx * cos - dy * sin, y + dx * sin + dy * cos) for dx, dy in corners]


def run_lengths(counts: list[int] | str, most: int) -> list[int]:
    """COCO's run lengths, at most so many: as they are, or from its string of 6-bit characters.

    ValueError where the string spells no numbers; what the numbers mean for a mask is not looked at.
    """
    if not isinstance(counts, str):
        return counts[:most]
    runs: list[int] = []
    value = shift = 0
    for character in counts:
        if len(runs) == most:
            return runs
        bits = ord(character) - 48
        if not 0 <= bits < 64 or shift > 60:
            raise ValueError("rle counts are not COCO's string of run lengths")
        value |= (bits & 0x1F) << shift
        shift += 5
        if bits & 0x20:
            continue
        if bits & 0x10:
            value -= 1 << shift
        # From the fourth on, each is told as its difference to the one before the last.
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
        value = shift = 0
    if shift:
        raise ValueError("rle counts end in the middle of a number")
    return runs


def run_string(runs: list[int]) -> str:
    """Run lengths as COCO's string: the inverse of `run_lengths`."""
    characters = []
    for position, run in enumerate(runs):
        value, more = run - (runs[position - 2] if position > 2 else 0), True
        while more:
            bits = value & 0x1F
            value >>= 5
            more = value != (-1 if bits & 0x10 else 0)
            characters.append(chr(48 + bits + (0x20 if more else 0)))
    return "".join(characters)
