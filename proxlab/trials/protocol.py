"""How much is done: three protocols, what a study costs, and what is left out so that it fits the time."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from proxlab.trials.shifts import departures
from proxlab.trials.sizes import plain_sizes


@dataclass(frozen=True)
class Protocol:
    """Sizes of a study; levels are budgets |e| / |Kx|, boxes l-infinity budgets of 255.

    attacked, shifted and detailed are numbers of pictures, out of `pictures`, for the worst case, the
    departures from the model and the inserted details. exact: relative tolerance of the gains of linear
    methods, 0 for none. Lists become tuples. ValueError, in a sentence, for sizes of which no study comes.
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
    exact: float
    resamples: int
    minutes: float | None

    def __post_init__(self) -> None:
        for name, value in plain_sizes(vars(self)).items():
            object.__setattr__(self, name, value)

    @property
    def middle(self) -> float:
        """The level of everything that is measured at one level only."""
        return self.levels[len(self.levels) // 2]

    def as_dict(self) -> dict[str, Any]:
        """In types that JSON has."""
        return asdict(self)


QUICK = Protocol(  # fixed sizes, and no look at the clock: the same numbers on every machine
    name="quick",
    pictures=8,
    side=256,
    levels=(0.01, 0.03, 0.08),
    draws=2,
    attacked=2,
    attack_levels=(0.03,),
    iterations=8,
    restarts=1,
    boxes=(),
    shifted=1,
    short_shifts=False,
    detailed=1,
    lipschitz=3,
    exact=0.1,
    resamples=200,
    minutes=None,
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
    exact=0.01,
    resamples=1000,
)
PAPER = replace(
    STANDARD, name="paper", draws=50, iterations=1000, restarts=6, shifted=50, detailed=50, resamples=10000
)
PROTOCOLS = {p.name: p for p in (QUICK, STANDARD, PAPER)}


@dataclass(frozen=True)
class Speed:
    """Seconds of one call at each level, of one step of an attack, and of one product of `exact`.

    A step is a call and a pullback at data that are attacked already, where some solvers take longer than
    on data as they come; worse is the time of a call there.
    """

    call: Mapping[float, float]
    step: float
    worse: float
    product: float = 0.0

    def at(self, level: float) -> float:
        """Seconds of a call at a level, that of the nearest one measured."""
        return self.call[min(self.call, key=lambda known: abs(known - level))]


def seconds(protocol: Protocol, speed: Speed, *, others: int) -> dict[str, float]:
    """The expected time of each part for one subject beside so many others."""
    p, middle = protocol, speed.at(protocol.middle)
    rivals, checks = max(4, min(16, p.iterations // 3)), 5  # of the search; evaluations, repeats, a quotient
    climb = (p.iterations * p.restarts + 3) * speed.step + (rivals + checks) * middle + speed.worse
    narrow = speed.step * min(1.0, middle / max(speed.worse, 1e-9))  # far within the budget, data are tame
    kinds = len(departures(short=p.short_shifts))
    return {
        "noise": p.pictures * (p.draws + 2) * sum(speed.at(level) for level in p.levels),
        "worst": p.attacked * climb * (len(p.attack_levels) + len(p.boxes)),
        "transfer": p.attacked * others * (middle + speed.worse) / 2,
        "shift": p.shifted * kinds * middle,
        "detail": p.detailed * 4 * middle,
        "lipschitz": (p.lipschitz > 0) * min(2, p.attacked) * (p.lipschitz + 2) * narrow,
        "exact": (p.exact > 0) * exact_steps(p) * speed.product,
    }


def exact_steps(p: Protocol) -> int:
    """Products with the squared map that the tolerance takes."""
    from algorithms.exact_gain import FAILURE, lanczos_steps

    return lanczos_steps(p.side**2, tolerance=p.exact, failure=FAILURE) if p.exact > 0 else 0


def total(protocol: Protocol, speeds: Mapping[str, Speed]) -> float:
    """Seconds of the whole study."""
    others = len(speeds) - 1
    return sum(sum(seconds(protocol, speed, others=others).values()) for speed in speeds.values())


def fit(protocol: Protocol, speeds: Mapping[str, Speed], limit: float | None) -> tuple[Protocol, list[str]]:
    """The protocol cut until it takes at most `limit` seconds, and what was cut, in words.

    The same for all subjects, so that all are attacked with the same effort. Numbers that a rung of the
    ladder cut too much are raised again as far as there is time for it. When even the least is too long it is
    returned, and said.
    """
    if limit is None or total(protocol, speeds) <= limit:
        return protocol, []
    now = protocol
    for change in _ladder(protocol):
        new = replace(now, **change)
        if total(new, speeds) < total(now, speeds):
            now = new
        if total(now, speeds) <= limit:
            now = _filled(now, protocol, lambda p: total(p, speeds) <= limit)
            return now, _differences(protocol, now)
    cuts = _differences(protocol, now)
    return now, [*cuts, f"even so about {total(now, speeds) / 60:.1f} minutes are needed"]


GIVEN_BACK = (  # sizes and how far they are raised, in the order of what a reader gains
    *(("pictures", 4), ("attacked", 2), ("iterations", 20)),
    *(("pictures", 8), ("attacked", 4), ("iterations", 50), ("draws", 3)),
    *((name, 10**6) for name in ("attacked", "pictures", "attacked", "iterations", "draws", "shifted")),
    *((name, 10**6) for name in ("detailed", "lipschitz", "restarts")),
)


def _filled(kept: Protocol, asked: Protocol, fits: Callable[[Protocol], bool]) -> Protocol:
    """The sizes of `kept`, each in turn raised towards what was asked for as long as the study fits."""
    for name, enough in GIVEN_BACK:
        least, most = getattr(kept, name), min(getattr(asked, name), enough)
        if name in ("attacked", "shifted", "detailed"):
            most = min(most, kept.pictures)
        while least < most:  # bisection: more of anything takes longer
            middle = (least + most + 1) // 2
            if fits(replace(kept, **{name: middle})):
                least = middle
            else:
                most = middle - 1
        kept = replace(kept, **{name: least})
    return kept


def _differences(asked: Protocol, kept: Protocol) -> list[str]:
    """What of the one is less in the other, in words, in the order of the fields."""
    before, after = asked.as_dict(), kept.as_dict()
    return [
        f"{name.replace('_', ' ')}: {_words(after[name])} instead of {_words(before[name])}"
        for name in after
        if after[name] != before[name]
    ]


def again(command: str, p: Protocol) -> str:
    """The command that runs the same study once more, whatever the clock: its sizes told, not its minutes.

    >>> again("proxlab robustness --psf box:3 --minutes 1 --out report --resume", replace(QUICK, attacked=1))
    'proxlab robustness --psf box:3 --quick --sizes attacked=1 --out again'
    """
    if not command:
        return ""
    words, kept = iter(shlex.split(command)), []
    for word in words:
        name, _, value = word.partition("=")
        if name in ("--minutes", "--sizes", "--out"):
            if not value:
                next(words, None)
        elif name not in ("--resume", *(f"--{protocol}" for protocol in PROTOCOLS)):
            kept.append(word)
    return f"{shlex.join(kept)} {as_options(p)} --out again"


def as_options(p: Protocol) -> str:
    """What makes the command run exactly these sizes: its protocol, and each size that differs from it.

    >>> as_options(replace(QUICK, attacked=1, attack_levels=(0.03, 0.08), minutes=2))
    '--quick --sizes attacked=1,attack_levels=0.03:0.08'
    """
    plain = PROTOCOLS[p.name].as_dict()
    sizes = [
        f"{name}={_option(value)}"
        for name, value in p.as_dict().items()
        if name != "minutes" and value != plain[name]
    ]
    return f"--{p.name}" + (f" --sizes {','.join(sizes)}" if sizes else "")


def read_sizes(text: str) -> dict[str, Any]:
    """The sizes of as_options's text: name=value, commas between, colons inside lists; of the fields' types.

    Raises ValueError, in a sentence.

    >>> read_sizes("attacked=1,attack_levels=0.03:0.08,boxes=,short_shifts=yes")
    {'attacked': 1, 'attack_levels': (0.03, 0.08), 'boxes': (), 'short_shifts': True}
    """
    sizes: dict[str, Any] = {}
    known = {k: v for k, v in QUICK.as_dict().items() if k not in ("name", "minutes")}
    for part in text.split(","):
        name, _, value = part.strip().partition("=")
        if name not in known:
            message = f"a study has no size {name!r}: there are {', '.join(known)}."
            raise ValueError(message)
        try:
            sizes[name] = _as_type(value, known[name])
        except ValueError as cause:
            wanted = {bool: "yes or no", tuple: "numbers with colons between", int: "a whole number"}
            kind = wanted.get(type(known[name]), "a number")
            message = f"size {name} is given as {value!r}: wanted {kind}."
            raise ValueError(message) from cause
    return sizes


def _as_type(text: str, like: object) -> Any:
    if isinstance(like, bool):
        if text not in ("yes", "no"):
            raise ValueError(text)
        return text == "yes"
    if isinstance(like, tuple):
        return tuple(float(part) for part in text.split(":")) if text else ()
    return int(text) if isinstance(like, int) else float(text)


def _option(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ":".join(map(repr, value)) if isinstance(value, tuple) else repr(value)


def _ladder(p: Protocol) -> Iterator[dict[str, Any]]:
    """Changes in the order of what costs a reader least; the largest budgets are attacked last of all.

    None asks for more than p does.
    """
    ends = dict.fromkeys((p.middle, max(p.levels)))
    few = tuple(level for level in ends if level in p.attack_levels) or tuple(sorted(p.attack_levels)[-1:])
    coarse = max(p.exact, 0.03) if p.exact > 0 else 0.0
    yield {"restarts": 1}
    yield {"boxes": p.boxes[1:2] or p.boxes}
    yield {"attacked": min(p.attacked, 8)}
    yield {"attacked": min(p.attacked, 4), "shifted": min(p.shifted, 4), "detailed": min(p.detailed, 4)}
    yield {"iterations": min(p.iterations, 50), "draws": min(p.draws, 10)}
    yield {"attacked": min(p.attacked, 2), "lipschitz": min(p.lipschitz, 20)}
    yield {"boxes": (), "exact": coarse}
    yield {"iterations": min(p.iterations, 30), "draws": min(p.draws, 3)}
    yield {"shifted": min(p.shifted, 1), "detailed": min(p.detailed, 1), "lipschitz": min(p.lipschitz, 10)}
    yield {"attack_levels": few, "iterations": min(p.iterations, 20)}
    yield {"short_shifts": True, "pictures": min(p.pictures, 16)}
    yield {"attacked": min(p.attacked, 1), "draws": min(p.draws, 2), "pictures": min(p.pictures, 8)}
    yield {"pictures": min(p.pictures, 4), "iterations": min(p.iterations, 12)}
    yield {"lipschitz": 0, "exact": 0.0, "attack_levels": few[:1], "pictures": min(p.pictures, 2)}


def _words(value: object) -> str:
    if isinstance(value, bool):
        return "the short list" if value else "all"
    if isinstance(value, tuple):
        return ", ".join(f"{v:g}" for v in value) or "none"
    return str(value)
