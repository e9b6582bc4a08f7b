"""Ways to forecast a series of spend; each learns one value after the other, so that one pass gives its forecast at every moment.

A place is the number of a step in its series, counted from the first value. Values may be floats here: statistics need not be exact.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Final, Literal, NamedTuple, Protocol, TypeAlias, get_args

Name: TypeAlias = Literal["run_rate", "naive", "level", "weekday", "weekday_trend"]
NAMES: Final[tuple[Name, ...]] = get_args(Name)
SEASON: Final = 7
"""Days of a week."""
MEMORIES: Final[Mapping[Name, tuple[float, ...]]] = {
    "run_rate": (1.0,),
    "naive": (1.0,),
    "level": (0.8, 0.93, 0.98),
    "weekday": (0.8, 0.93, 0.98),
    "weekday_trend": (0.97, 0.99),
}
"""By how much a value weighs less with every step that it is older: the last 5, 14, 33, 50 or 100 steps or so count."""

_DAMPING: Final = 0.98
"""What is left of a trend with every step: no growth goes on for ever."""
_SURE: Final = 4.0
"""A trend counts by its square against the square of its own error, and this: one that may be chance counts little."""
_PRIOR_WEEKS: Final = 0.25
"""A weekday's factor begins at 1 as if it had been seen so many times: one Saturday does not tell what Saturdays are like."""
_FACTOR_MEMORY: Final = 0.06
"""A new week moves a weekday's factor by that much at least: habits change."""


class Learner(Protocol):
    """Something that forecasts what comes next from what it has learned."""

    def learn(self, value: float) -> None:
        """Take up the value of the next step."""
        ...

    def begin(self, value: float, share: float) -> None:
        """Take up what the step that runs has come to so far, and how much of it is over; nothing is learned after that."""
        ...

    def ahead(self, steps: int) -> Sequence[float] | None:
        """What is expected of each of the next whole steps, that which runs first; None: it cannot tell yet."""
        ...

    @property
    def doubt(self) -> float:
        """Variance of the level that it assumes, in variances of a single value."""
        ...


class _WholeSteps:
    """Knows nothing of a step that is not over."""

    def begin(self, value: float, share: float) -> None:
        """See `Learner.begin`."""


class RunRate:
    """What the window that runs has come to so far, by the days that are over of it, goes on; at its beginning that of the one before.

    A window that has lasted less than a step counts as one.

    Args:
        starts: by place, ascending: where windows begin.
        length: of windows that roll on: so many steps; 0 for others.
    """

    def __init__(self, starts: Sequence[int], length: int = 0) -> None:
        self._starts = frozenset(starts)
        self._place = 0
        self._values: deque[float] = deque(maxlen=length or None)
        self._sum = self._share = 0.0

    def learn(self, value: float) -> None:
        """See `Learner.learn`."""
        self._turn()
        if len(self._values) == self._values.maxlen:
            self._sum -= self._values[0]
        self._values.append(value)
        self._sum += value
        self._place += 1

    def begin(self, value: float, share: float) -> None:
        """See `Learner.begin`."""
        if share > 0:
            self._turn()
            self._sum += value
            self._share = share

    def ahead(self, steps: int) -> Sequence[float] | None:
        """See `Learner.ahead`."""
        lasted = len(self._values) + self._share
        return [max(0.0, self._sum) / max(1.0, lasted)] * steps if lasted else None

    def _turn(self) -> None:
        if self._place in self._starts:
            self._values.clear()
            self._sum = 0.0

    @property
    def doubt(self) -> float:
        """See `Learner.doubt`."""
        return 1.0 / max(1, len(self._values))


class Naive(_WholeSteps):
    """What was last comes again."""

    def __init__(self) -> None:
        self._last: float | None = None
        self.doubt = 1.0

    def learn(self, value: float) -> None:
        """See `Learner.learn`."""
        self._last = value

    def ahead(self, steps: int) -> Sequence[float] | None:
        """See `Learner.ahead`."""
        return None if self._last is None else [self._last] * steps


class Smoothed(_WholeSteps):
    """A level, or a straight line, through values of which older ones count less, times the factors of the season.

    The line is a least-squares fit with weights that fall with age, brought up to date with each value; its slope counts the less the
    less sure it is. A value weighs by its factor, so that a weekday on which little is spent tells little of the level. A factor is what
    its place took of the mean of the season that ended with it, on average.

    Args:
        memory: by how much a value weighs less with every step.
        season: steps until the season begins anew; 1: there is none.
        with_trend: fit a line.
    """

    def __init__(self, memory: float, season: int = 1, *, with_trend: bool = False) -> None:
        self._memory = memory
        self._season = season
        self._with_trend = with_trend
        self._factors = [1.0] * season
        self._seen = [0] * season
        self._latest: deque[float] = deque(maxlen=season)
        self._place = 0
        self._w = self._ww = self._wt = self._wtt = self._wy = self._wty = self._wyy = 0.0

    def learn(self, value: float) -> None:
        """See `Learner.learn`."""
        spot = self._place % self._season
        if self._season > 1:
            self._latest.append(value)
            mean = sum(self._latest) / self._season
            if len(self._latest) == self._season and mean > 0:
                self._learn_factor(spot, value / mean)
        self._add(value, max(self._factors[spot], _LEAST))
        self._place += 1

    def _learn_factor(self, spot: int, ratio: float) -> None:
        self._seen[spot] += 1
        gain = max(_FACTOR_MEMORY, 1 / (self._seen[spot] + _PRIOR_WEEKS))
        self._factors[spot] += gain * (ratio - self._factors[spot])
        mean = sum(self._factors) / self._season
        self._factors = [factor / mean for factor in self._factors]

    def _add(self, value: float, factor: float) -> None:
        """Age is counted back from the value that comes: all others are one step older now."""
        g = self._memory
        self._wtt = g * (self._wtt + 2 * self._wt + self._w)
        self._wty = g * (self._wty + self._wy)
        self._wt = g * (self._wt + self._w)
        self._w, self._wy, self._wyy = g * self._w + factor, g * self._wy + value, g * self._wyy + value * value / factor
        self._ww = g * g * self._ww + factor * factor

    def _level(self) -> float:
        return self._wy / self._w

    def _slope(self) -> float:
        """Per step, shrunk by what it is against its own error."""
        mean_age, mean = self._wt / self._w, self._level()
        spread = self._wtt / self._w - mean_age**2
        if spread <= 0:
            return 0.0
        slope = -(self._wty / self._w - mean_age * mean) / spread
        rest = max(0.0, self._wyy / self._w - mean**2 - slope**2 * spread)
        error = rest / spread * self._ww / self._w**2
        return slope * slope**2 / (slope**2 + _SURE * error) if slope else 0.0

    def ahead(self, steps: int) -> Sequence[float] | None:
        """See `Learner.ahead`."""
        if not self._w:
            return None
        slope = self._slope() if self._with_trend else 0.0
        level, step = self._level() + slope * self._wt / self._w, slope
        found = []
        for ahead in range(steps):
            level += step
            step *= _DAMPING
            found.append(max(0.0, level) * self._factors[(self._place + ahead) % self._season])
        return found

    @property
    def doubt(self) -> float:
        """See `Learner.doubt`; a line is four times as unsure at its end as a level."""
        return (4.0 if self._with_trend else 1.0) * self._ww / self._w**2 if self._w else 1.0


_LEAST: Final = 0.001
"""So much at least a step weighs: with all weights 0 there would be no level."""


class Key(NamedTuple):
    """One learner of a series: a name and a memory."""

    name: Name
    memory: float


class History(NamedTuple):
    """What is known of a series.

    Attributes:
        values: of steps that are over, oldest first.
        starts: places at which windows of the calendar begin, for the run rate.
        length: of windows that roll on how many steps they have; 0 for others.
        season: steps until the season begins anew; 1: there is none.
    """

    values: Sequence[float]
    starts: Sequence[int] = ()
    length: int = 0
    season: int = SEASON

    def until(self, place: int) -> History:
        """What was known before a place."""
        return self._replace(values=self.values[:place])


def learners(history: History) -> dict[Key, Learner]:
    """Everything that can forecast a series, fresh: what is by weekday only where there is a season."""
    return {
        Key(name, memory): _made(name, memory, history)
        for name in NAMES
        for memory in MEMORIES[name]
        if history.season > 1 or not name.startswith("weekday")
    }


def _made(name: Name, memory: float, history: History) -> Learner:
    if name == "run_rate":
        return RunRate(history.starts, history.length)
    if name == "naive":
        return Naive()
    return Smoothed(memory, 1 if name == "level" else history.season, with_trend=name == "weekday_trend")
