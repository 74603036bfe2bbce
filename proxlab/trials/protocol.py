"""How much is done: three protocols, what a study costs, and what is left out so that it fits the time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from proxlab.trials.shifts import departures


@dataclass(frozen=True)
class Protocol:
    """Sizes of a study; levels are budgets |e| / |Kx|, boxes l-infinity budgets of 255.

    attacked, shifted and detailed are numbers of pictures, out of `pictures`, for the worst case, the
    departures from the model and the inserted details.
    """

    name: str
    pictures: int
    side: int
    levels: tuple[float, ...]
    draws: int
    attacked: int
    attack_levels: tuple[float, ...]
    iterations: int
    restarts: int
    boxes: tuple[float, ...]
    shifted: int
    short_shifts: bool
    detailed: int
    lipschitz: int
    resamples: int
    minutes: float | None

    @property
    def middle(self) -> float:
        """The level of everything that is measured at one level only."""
        return self.levels[len(self.levels) // 2]

    def as_dict(self) -> dict[str, Any]:
        """In types that JSON has."""
        return asdict(self)


QUICK = Protocol(
    name="quick",
    pictures=8,
    side=256,
    levels=(0.01, 0.03, 0.08),
    draws=5,
    attacked=4,
    attack_levels=(0.01, 0.03, 0.08),
    iterations=50,
    restarts=1,
    boxes=(2.0,),
    shifted=2,
    short_shifts=False,
    detailed=2,
    lipschitz=20,
    resamples=200,
    minutes=8.5,
)
STANDARD = replace(
    QUICK,
    name="standard",
    pictures=50,
    levels=(0.0, 0.005, 0.01, 0.02, 0.03, 0.05, 0.08),
    draws=20,
    attacked=50,
    attack_levels=(0.005, 0.01, 0.02, 0.03, 0.05, 0.08),
    iterations=200,
    restarts=3,
    boxes=(1.0, 2.0, 4.0, 8.0),
    shifted=10,
    detailed=10,
    lipschitz=100,
    resamples=1000,
    minutes=None,
)
PAPER = replace(
    STANDARD, name="paper", draws=50, iterations=1000, restarts=6, shifted=50, detailed=50, resamples=10000
)
PROTOCOLS = {p.name: p for p in (QUICK, STANDARD, PAPER)}


@dataclass(frozen=True)
class Speed:
    """Seconds of one call at each level, and of one pullback, of one subject."""

    call: Mapping[float, float]
    pull: float

    def at(self, level: float) -> float:
        """Seconds of a call at a level, that of the nearest one measured."""
        return self.call[min(self.call, key=lambda known: abs(known - level))]


def seconds(protocol: Protocol, speed: Speed, *, others: int) -> dict[str, float]:
    """The expected time of each part for one subject beside so many others."""
    p, middle = protocol, speed.at(protocol.middle)
    attacks = p.iterations * p.restarts
    climb = sum(attacks * (speed.at(level) + speed.pull) + 20 * speed.at(level) for level in p.attack_levels)
    boxes = len(p.boxes) * attacks * (middle + speed.pull)
    kinds = len(departures(short=p.short_shifts))
    return {
        "noise": p.pictures * (p.draws + 2) * sum(speed.at(level) for level in p.levels),
        "worst": p.attacked * (climb + boxes),
        "transfer": p.attacked * others * middle,
        "shift": p.shifted * kinds * middle,
        "detail": p.detailed * 4 * middle,
        "lipschitz": (p.lipschitz > 0) * min(2, p.attacked) * (p.lipschitz + 1) * (middle + speed.pull),
    }


def total(protocol: Protocol, speeds: Mapping[str, Speed]) -> float:
    """Seconds of the whole study."""
    others = len(speeds) - 1
    return sum(sum(seconds(protocol, speed, others=others).values()) for speed in speeds.values())


def fit(protocol: Protocol, speeds: Mapping[str, Speed], limit: float | None) -> tuple[Protocol, list[str]]:
    """The protocol cut until it takes at most `limit` seconds, and what was cut, in words.

    The same for all subjects, so that all are attacked with the same effort. When even the least is too long
    it is returned, and said.
    """
    cuts: dict[str, str] = {}
    if limit is None or total(protocol, speeds) <= limit:
        return protocol, []
    now = protocol
    for change in _ladder(protocol):
        new = replace(now, **change)
        if total(new, speeds) >= total(now, speeds):
            continue
        for name, value in change.items():
            cuts[name] = (
                f"{name.replace('_', ' ')}: {_words(value)} instead of {_words(getattr(protocol, name))}"
            )
        now = new
        if total(now, speeds) <= limit:
            return now, list(cuts.values())
    return now, [*cuts.values(), f"even so about {total(now, speeds) / 60:.0f} minutes are needed"]


def _ladder(p: Protocol) -> Iterator[dict[str, Any]]:
    """Changes in the order of what costs a reader least; the largest budgets are attacked last of all."""
    few = tuple(dict.fromkeys((p.middle, max(p.levels))))
    yield {"restarts": 1}
    yield {"boxes": p.boxes[1:2] or p.boxes}
    yield {"attacked": min(p.attacked, 8)}
    yield {"attacked": min(p.attacked, 4), "shifted": min(p.shifted, 4), "detailed": min(p.detailed, 4)}
    yield {"iterations": min(p.iterations, 50), "draws": min(p.draws, 10)}
    yield {"attacked": min(p.attacked, 2), "lipschitz": min(p.lipschitz, 20)}
    yield {"boxes": ()}
    yield {"iterations": min(p.iterations, 30), "draws": min(p.draws, 3)}
    yield {"shifted": 1, "detailed": 1, "lipschitz": min(p.lipschitz, 10)}
    yield {"attack_levels": few, "iterations": min(p.iterations, 20)}
    yield {"short_shifts": True, "pictures": min(p.pictures, 16)}
    yield {"attacked": 1, "draws": min(p.draws, 2), "pictures": min(p.pictures, 8)}
    yield {"pictures": min(p.pictures, 4), "iterations": min(p.iterations, 12)}
    yield {"lipschitz": 0, "attack_levels": (p.middle,), "pictures": min(p.pictures, 2)}


def _words(value: object) -> str:
    if isinstance(value, bool):
        return "the short list" if value else "all"
    if isinstance(value, tuple):
        return ", ".join(f"{v:g}" for v in value) or "none"
    return str(value)
