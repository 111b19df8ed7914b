"""The models one may see, with what they hold."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from django.contrib.auth.models import AnonymousUser
from django.core.cache import cache

from dashboard.bounded import in_time
from dashboard.retention_words import policy_words
from inference_store.models import Project, RegisteredModel, RetentionPolicy, User
from inference_store.query.volumes import inference_counts, stored_bytes, visible_models, volumes

PAGE_SIZE = 24
SEARCHED_FROM = 7
"""So many models, and there is a box to search them by."""
LONGEST_SEARCH = 200
DAYS, HOURS = 30, 48
KEPT_SECONDS = 300
"""What sums over all of a model's blobs is asked this seldom."""
NOT_SUMMED = -1


@dataclass(frozen=True)
class VolumeBar:
    """A step of time with its count; `height` is in percent of the highest."""

    x: int
    height: float
    words: str
    count: int


@dataclass(frozen=True)
class Volume:
    """Inferences over time. `step` is day or hour."""

    bars: list[VolumeBar]
    steps: int
    step: str
    total: int

    @property
    def words(self) -> str:
        span = f"{self.steps} {self.step}s"
        if not self.bars:
            return f"none in the last {span}"
        most = max(self.bars, key=lambda bar: bar.count)
        return f"{self.total:,} in the last {span}, most on {most.words}: {most.count:,}"


@dataclass(frozen=True)
class ModelRow:
    """A model; `count`, `size` and `volume` are None where finding them would have held up the page."""

    model: RegisteredModel
    last_seen: datetime | None
    count: int | None
    size: int | None
    volume: Volume | None
    retention: str


@dataclass(frozen=True)
class ProjectGroup:
    project: Project
    rows: list[ModelRow]


@dataclass(frozen=True)
class Overview:
    groups: list[ProjectGroup]
    search: str
    page: int
    has_more: bool

    @property
    def is_searched(self) -> bool:
        """Whether there are models enough to search among."""
        shown = sum(len(group.rows) for group in self.groups)
        return bool(self.search) or self.page > 1 or self.has_more or shown >= SEARCHED_FROM


def overview(user: User | AnonymousUser, search: str, page: int) -> Overview:
    """A page of models by project. As many queries, however many models."""
    search = search[:LONGEST_SEARCH]
    start = (page - 1) * PAGE_SIZE
    part = slice(start, start + PAGE_SIZE + 1)
    models = [] if "\x00" in search else visible_models(user, search, part)
    shown = models[:PAGE_SIZE]
    keys = [model.pk for model in shown]
    counts = in_time(lambda: inference_counts(keys)) or {}
    seen = _volumes(keys)
    sizes = _sizes(keys)
    policies = RetentionPolicy.objects.filter(registered_model__in=keys)
    words = {policy.registered_model_id: policy_words(policy) for policy in policies}
    groups: dict[str, ProjectGroup] = {}
    for model in shown:
        row = ModelRow(
            model=model,
            last_seen=model.last_seen,
            count=counts.get(model.pk),
            size=sizes.get(model.pk),
            volume=seen.get(model.pk),
            retention=words.get(model.pk, "Everything is kept for ever."),
        )
        groups.setdefault(model.project_id, ProjectGroup(model.project, [])).rows.append(row)
    return Overview(list(groups.values()), search, page, has_more=len(models) > PAGE_SIZE)


def _volumes(models: list[int]) -> dict[int, Volume]:
    """By day; by hour where all there is came within two days."""
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    first = today - timedelta(days=DAYS - 1)
    by_day = in_time(lambda: volumes(models, first, timedelta(days=1)))
    if by_day is None:
        return {}
    days = {day for counted in by_day.values() for day in counted}
    this_hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    two_days = this_hour - timedelta(hours=HOURS - 1)
    if days and min(days) >= two_days.replace(hour=0):
        by_hour = in_time(lambda: volumes(models, two_days, timedelta(hours=1)))
        if by_hour is not None:
            return {model: _volume(each, two_days, "hour", HOURS) for model, each in by_hour.items()}
    return {model: _volume(each, first, "day", DAYS) for model, each in by_day.items()}


def _volume(counted: dict[datetime, int], first: datetime, name: str, steps: int) -> Volume:
    step = timedelta(days=1) if name == "day" else timedelta(hours=1)
    most = max(counted.values(), default=0)
    bars = [
        VolumeBar(
            x=(at - first) // step,
            height=round(max(3, 100 * count / most), 1),
            words=f"{at:%Y-%m-%d}" if name == "day" else f"{at:%Y-%m-%d %H}:00",
            count=count,
        )
        for at, count in sorted(counted.items())
    ]
    return Volume(bars, steps, name, sum(counted.values()))


def _sizes(models: list[int]) -> dict[int, int]:
    """Bytes by model, summed some minutes ago at most; without those that took too long."""
    names = {f"stored-bytes:{model}": model for model in models}
    known = {names[name]: size for name, size in cache.get_many(names).items()}
    missing = [model for model in models if model not in known]
    if missing:
        summed = in_time(lambda: stored_bytes(missing))
        fresh = summed if summed is not None else dict.fromkeys(missing, NOT_SUMMED)
        cache.set_many({f"stored-bytes:{model}": size for model, size in fresh.items()}, KEPT_SECONDS)
        known |= fresh
    return {model: size for model, size in known.items() if size != NOT_SUMMED}
