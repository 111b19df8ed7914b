"""How many inferences conditions hold for, and their numbers: from segments where these can tell.

One statement says which segments there are, which of their rows have changed since, and what of those and of
all newer rows the conditions hold for: so the answer is that of one moment, however old what is kept here.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from inference_store import statements
from inference_store.models import RegisteredModel, Segment, SegmentChange, SegmentColumn
from inference_store.models.segment import KEY, TIME
from inference_store.query import column_cache
from inference_store.query.conditions import TABLE, Condition
from inference_store.query.known_slots import NOT_ASKED, SPELLED, KnownSlots
from inference_store.query.matching import stated
from inference_store.query.numbers import Array, Asked, Compared, Joined, Mask
from inference_store.query.recent import Recent

MOST_CHANGES = 2_000
"""Rows that are read one by one; where more have changed, all are counted."""
LOOK_UPS = 3
NANOSECONDS_BY_INDEX = 120
NANOSECONDS_BY_COLUMN = 1
NANOSECONDS_AT_LEAST = 1_000_000
"""What a row costs where an index finds it and where a column is compared, and what the statement costs."""

SEGMENTS, CHANGES = Segment._meta.db_table, SegmentChange._meta.db_table
COLUMN = f"select {{what}} from {SegmentColumn._meta.db_table} where segment_id = %s and name = %s"  # noqa: S608 # nosec B608
ARE_AS_BUILT = f"""
    select array(select id from {SEGMENTS} where registered_model_id = %s and state = 'ready' order by after),
           not exists (select from {CHANGES} where registered_model_id = %s)
           and (select max(id) from {TABLE}) <= %s, {SPELLED}
"""  # noqa: S608 # nosec B608
HELD, NONE_HELD = "count(*)", 0
NUMBERS, NO_NUMBERS = "string_agg(float8send({column}), '')", b""
READ = f"""
    with changed as materialized (
        select distinct inference_id as id from {CHANGES}
         where registered_model_id = %s and inference_id <= %s limit {MOST_CHANGES + 1})
    select array(select id from {SEGMENTS} where registered_model_id = %s and state = 'ready' order by after),
           exists (select from {CHANGES} c join {SEGMENTS} s on s.id = c.segment_id
                    where c.registered_model_id = %s and s.state = 'ready'),
           array(select id from changed),
           (select {{what}} from {TABLE} r where {{condition}} and r.id > %s),
           (select {{what}} from {TABLE} r where {{condition}} and r.id = any(array(select id from changed))),
           {SPELLED}
"""  # noqa: S608 # nosec B608

_chains: Recent[int, list[Segment]] = Recent()


class GoneError(LookupError):
    """A segment was replaced, or does not have that column."""


def number_of(model: RegisteredModel, conditions: Sequence[Condition], slots: KnownSlots = NOT_ASKED) -> int:
    """How many of the model's inferences these conditions hold for; made of these slots."""
    found = _Reading(model, conditions, None, slots).found()
    if found is not None:
        parts, others = found
        return sum(part.number() for part in parts) + int(sum(others))
    condition, values = stated(model, conditions)
    statement = f"select count(*), {SPELLED} from {TABLE} r where {condition}"  # noqa: S608 # nosec B608
    number, told = statements.rows(statement, [model.pk, *values], anew=True)[0]
    slots.check(told)
    return int(number)


def numbers_of(
    model: RegisteredModel, conditions: Sequence[Condition], column: str, slots: KnownSlots = NOT_ASKED
) -> Array | None:
    """The numbers in that column of those inferences that have one; None where segments can't tell."""
    has_one = Condition(f"r.{column} is not null", asked=Compared(column, "is not null"))
    found = _Reading(model, [*conditions, has_one], column, slots).found()
    if found is None:
        return None
    parts, others = found
    sent = [np.frombuffer(each or b"", ">f8") for each in others]
    return np.concatenate([*(part.numbers(column) for part in parts), *sent]).astype(np.float64, copy=False)


def forget() -> None:
    """Forget which segments there are, and what is in them."""
    _chains.forget_all()
    column_cache.forget()


class _Reading:
    """One reading of a model's segments."""

    def __init__(
        self,
        model: RegisteredModel,
        conditions: Sequence[Condition],
        column: str | None,
        slots: KnownSlots = NOT_ASKED,
    ) -> None:
        self.model, self.column, self.slots = model, column, slots
        asked = [each.asked for each in conditions]
        known = [each for each in asked if each is not None]
        self.can_tell = bool(asked) and len(known) == len(asked)
        self.asked = _apart(known)
        self.condition, self.values = stated(model, conditions)

    def found(self) -> "tuple[list[_Part], tuple[Any, Any]] | None":
        """What each segment has, and what newer and changed rows have; None where segments can't tell."""
        for _ in range(LOOK_UPS if self.can_tell else 0):
            try:
                return self._told_by(_chains.get(self.model.pk, self._chain))
            except GoneError:
                _chains.forget(self.model.pk)
        return None

    def _chain(self) -> list[Segment]:
        chain: list[Segment] = Segment.objects.chain(self.model)
        return chain

    def _told_by(self, chain: list[Segment]) -> "tuple[list[_Part], tuple[Any, Any]] | None":
        """GoneError where these are no longer the model's segments."""
        if not chain or not self._fits(chain):
            return None
        if _are_few(chain, self.asked):
            return None
        parts = [_Part(segment, self.asked) for segment in chain]
        is_void, changed, newer, anew = self._read(chain)
        if is_void or len(changed) > MOST_CHANGES:
            return None
        for part in parts:
            part.select(np.array(changed, np.int64))
        return parts, (newer, anew)

    def _fits(self, chain: list[Segment]) -> bool:
        """Whether the columns are in all segments, and leave room for others' in memory."""
        names = {name for each in self.asked for name in each.names}
        held = sum(8 * segment.row_count for segment in chain) * (len(names) + 1)
        known = all(names <= {TIME, *segment.columns} for segment in chain)
        return known and column_cache.have_room_for(held)

    def _read(self, chain: list[Segment]) -> tuple[bool, list[int], Any, Any]:
        """Whether one is void, which ids have changed, and what newer and changed rows hold."""
        model, watermark, known = self.model.pk, chain[-1].watermark, [segment.pk for segment in chain]
        # As a rule of a store that nobody writes to; asked first, as the other is planned anew each time.
        as_built = statements.rows(ARE_AS_BUILT, [model, model, watermark, model])[0]
        segments, are_as_built = self._of_known_slots(*as_built)
        if are_as_built and segments == known:
            none = NO_NUMBERS if self.column else NONE_HELD
            return False, [], none, none
        what = NUMBERS.format(column=f"r.{self.column}") if self.column else HELD
        statement = READ.format(what=what, condition=self.condition)
        values = [model, watermark, model, model, *self.values, watermark, *self.values, model]
        segments, *told = self._of_known_slots(*statements.rows(statement, values, anew=True)[0])
        if segments != known:
            raise GoneError
        is_void, changed, newer, anew = told
        return is_void, changed, newer, anew

    def _of_known_slots(self, *told: Any) -> tuple[Any, ...]:
        """What was told, but for the slots that were told last: these must be those that are known."""
        self.slots.check(told[-1])
        return told[:-1]


class _Part:
    """The rows of one segment that the conditions hold for."""

    def __init__(self, segment: Segment, asked: list[Asked]) -> None:
        self.segment, self.first, self.end = segment, 0, segment.row_count
        self.asked: list[Asked] = []
        for each in asked:
            if isinstance(each, Compared) and each.column == TIME:
                self._within(each)
            else:
                self.asked.append(each)
        self.end = max(self.first, self.end)
        self.columns = {
            name: _column(segment, name)[self.first : self.end] for each in self.asked for name in each.names
        }
        self.selected: Mask = np.empty(self.end - self.first, bool)

    def _within(self, bound: Compared) -> None:
        """Rows are in order of time."""
        times = _column(self.segment, TIME)
        if bound.operator == ">=":
            self.first = max(self.first, int(np.searchsorted(times, bound.value, "left")))
        else:
            self.end = min(self.end, int(np.searchsorted(times, bound.value, "right")))

    def select(self, changed: Array) -> None:
        """Find the rows that everything asked holds for, but for those that have changed since."""
        self.selected[:] = True
        for each in self.asked:
            self.selected &= each.mask(self.columns.__getitem__)
        self.selected[self._places_of(changed)] = False

    def _places_of(self, keys: Array) -> Array:
        """Where among the rows those of these ids are that the segment has."""
        keys = keys[(keys > self.segment.after) & (keys <= self.segment.watermark)]
        if not len(keys) or not self.segment.row_count:
            return np.zeros(0, np.int64)
        known, order = _column(self.segment, KEY), _column(self.segment, KEY, "order")
        at = np.searchsorted(known, keys, sorter=order)
        at = order[np.minimum(at, len(order) - 1)]
        at = at[known[at] == keys]
        within: Array = at[(at >= self.first) & (at < self.end)] - self.first
        return within

    def number(self) -> int:
        return int(np.count_nonzero(self.selected))

    def numbers(self, column: str) -> Array:
        return self.columns[column][self.selected]


def _apart(asked: list[Asked]) -> list[Asked]:
    """What must all hold, one by one."""
    found: list[Asked] = []
    for each in asked:
        found += _apart([*each.parts]) if isinstance(each, Joined) and each.word == "and" else [each]
    return found


def _are_few(chain: list[Segment], asked: list[Asked]) -> bool:
    """Whether an index finds the rows of one condition sooner than columns are compared: by the samples."""
    others = [each for each in asked if each.names != {TIME}]
    within, found = 0.0, [0.0] * len(others)
    for segment in chain:
        names = {name for each in asked for name in each.names}
        columns = {name: _column(segment, name, "sample") for name in names}
        each_stands_for = segment.row_count / max(1, len(_column(segment, TIME, "sample")))
        in_time = np.ones(len(_column(segment, TIME, "sample")), bool)
        for each in asked:
            if each.names == {TIME}:
                in_time &= each.mask(columns.__getitem__)
        within += each_stands_for * np.count_nonzero(in_time)
        for number, each in enumerate(others):
            found[number] += each_stands_for * np.count_nonzero(each.mask(columns.__getitem__))
    compared = within * len(others) * NANOSECONDS_BY_COLUMN + NANOSECONDS_AT_LEAST
    return bool(min([within, *found]) * NANOSECONDS_BY_INDEX < compared)


def _column(segment: Segment, name: str, what: str = "content") -> Array:
    """As remembered: what a segment has never changes. `what`: its content, a sample of it, its order."""

    def read() -> Array:
        if what == "order":
            return np.argsort(_column(segment, name), kind="stable")
        return _read_column(segment, name, what)

    return column_cache.kept((segment.pk, name, what), read)


def _read_column(segment: Segment, name: str, what: str) -> Array:
    kind = np.int64 if name in (KEY, TIME) else np.float64
    if not segment.row_count:
        return np.zeros(0, kind)
    if rows := statements.rows(COLUMN.format(what=what), [segment.pk, name]):
        return np.frombuffer(rows[0][0], np.dtype(kind).newbyteorder(">")).astype(kind)
    if name not in segment.columns or not Segment.objects.filter(pk=segment.pk).exists():
        raise GoneError
    return np.broadcast_to(np.float64("nan"), len(_column(segment, TIME, what)))  # null in each row
