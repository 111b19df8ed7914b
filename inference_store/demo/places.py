"""Where and when: cameras in real harbours over four weeks, the same for the same inference on every run."""

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

WEEKS = 4
DAYS = 7 * WEEKS
CLOCK_SKEW = timedelta(minutes=2)
UNPLACED_SHARE = 0.04


@dataclass(frozen=True, slots=True)
class Place:
    """A harbour; `weight` says how much of the traffic is there, `scatter` how far it reaches, in degrees."""

    name: str
    latitude: float
    longitude: float
    cameras: int = 2
    weight: float = 1.0
    scatter: float = 0.03


PLACES = (
    Place("Hamburg", 53.5396, 9.9655, cameras=3, weight=3),
    Place("Rotterdam", 51.9490, 4.1453, cameras=3, weight=2.5, scatter=0.05),
    Place("Singapore", 1.2644, 103.8200, cameras=2, weight=2),
    Place("Valparaíso", -33.0327, -71.6265),
    Place("Cape Town", -33.9060, 18.4330),
    Place("Tromsø", 69.6510, 18.9610, cameras=1, weight=0.7),
    Place("Vancouver", 49.2900, -123.1000, weight=1.2),
    Place("Suva", -18.1340, 178.4240, scatter=0.05),
    Place("Taveuni", -16.7900, 179.9900, cameras=1, weight=0.8, scatter=0.2),
)
"""Around Taveuni the antimeridian runs through the traffic."""

# Work by the hour of the day, UTC: a quiet night, a morning peak, a smaller one in the afternoon.
HOURS = np.array([1, 1, 1, 1, 2, 3, 6, 9, 12, 11, 9, 8, 6, 7, 9, 10, 8, 6, 4, 3, 2, 2, 1, 1], dtype=float)
# By the days past: today is as busy as any, Sundays can't be known, so every seventh is slow.
DAY_WEIGHTS = np.array([0.35 if day % 7 == 5 else 0.6 if day % 7 == 4 else 1.0 for day in range(DAYS)])
SKIES = ("clear", "clouded", "rain", "fog")


def dice(name: str) -> np.random.Generator:
    """Chance that falls the same for the same name, on every machine."""
    return np.random.default_rng(int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big"))


@dataclass(frozen=True, slots=True)
class Visit:
    """Where and when an inference was made; the time counts back from the demo's first day."""

    data_source: str
    site: str
    latitude: float | None
    longitude: float | None
    days_past: int
    time_of_day: timedelta
    weather: dict[str, Any]
    battery: float
    share: float

    @classmethod
    def of(cls, name: str) -> "Visit":
        chance = dice(name)
        weights = np.array([place.weight for place in PLACES])
        place = PLACES[int(chance.choice(len(PLACES), p=weights / weights.sum()))]
        camera = int(chance.integers(1, place.cameras + 1))
        north, east = chance.normal(0, place.scatter, 2)
        placed = chance.random() >= UNPLACED_SHARE
        hour = int(chance.choice(24, p=HOURS / HOURS.sum()))
        return cls(
            data_source=f"{place.name.lower().replace(' ', '-')}-cam-{camera}",
            site=place.name,
            latitude=round(float(place.latitude + north), 5) if placed else None,
            longitude=_wrapped(place.longitude + east) if placed else None,
            days_past=int(chance.choice(DAYS, p=DAY_WEIGHTS / DAY_WEIGHTS.sum())),
            time_of_day=timedelta(hours=hour, seconds=int(chance.integers(0, 3600))),
            weather=_weather(place, chance),
            battery=round(float(chance.beta(6, 2)), 3),
            share=float(chance.random()),
        )

    def created_at(self, first_day: datetime, now: datetime) -> datetime:
        """The time of this visit where the demo's first day began at `first_day`; never in the future."""
        time = first_day - timedelta(days=self.days_past) + self.time_of_day
        return time if time <= now - CLOCK_SKEW else time - timedelta(days=DAYS)

    def first_day(self, created_at: datetime) -> datetime:
        """The first day that led to `created_at`, or DAYS before it: take the latest that any visit tells."""
        return created_at - self.time_of_day + timedelta(days=self.days_past)


def today(now: datetime) -> datetime:
    return now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


def _wrapped(longitude: float) -> float:
    return round(float((longitude + 180) % 360 - 180), 5)


def _weather(place: Place, chance: np.random.Generator) -> dict[str, Any]:
    """Warmer near the equator; no measurement, but the same on every run."""
    warmth = 29 - abs(place.latitude) * 0.36
    return {
        "temp": round(float(chance.normal(warmth, 3.5)), 1),
        "sky": SKIES[int(chance.choice(len(SKIES), p=[0.4, 0.35, 0.18, 0.07]))],
        "wind": {
            "speed": round(float(chance.gamma(2.2, 2.4)), 1),
            "direction": int(chance.integers(0, 360)),
        },
    }
