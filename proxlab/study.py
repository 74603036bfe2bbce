"""The robustness study: any reconstructors, some pictures, one psf; numbers, flags and a page to read."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from proxlab.errors import UsageError
from proxlab.trials.preparation import Study, clock, prepare_study, psf_text
from proxlab.trials.protocol import PROTOCOLS, Protocol, seconds

if TYPE_CHECKING:
    from proxlab.cluster import Workers
    from proxlab.trials.scenes import Scene
    from proxlab.trials.store import Store
    from proxlab.trials.subjects import Subject

Unit = tuple[tuple[str, ...], Any, float, Callable[[], Mapping[str, Any]]]
TRUSTED = 30.0  # seconds of the plan that count like measured ones, when the time left is told


def robustness(  # noqa: PLR0913 (the one flat call)
    methods: Any,
    images: Any,
    psf: Any,
    *,
    protocol: str = "quick",
    minutes: float | None = None,
    out: str | Path | None = None,
    resume: bool = False,
    boundary: str = "unknown",
    prior: Any = None,
    seed: int = 0,
    device: str | None = None,
    sizes: Mapping[str, Any] | None = None,
    cluster: Any = None,
    say: Callable[[str], object] | None = None,
    command: str = "",
) -> dict[str, Any]:
    """Measure how accurate and how stable reconstructors are, against random, worst and unexpected noise.

    Parameters
    ----------
    methods: {"name": callable (op, y) -> x, or a name}, or names; identity, wiener, tikhonov and tv are
    always added. A callable that takes `sigma` is told the noise level. images: a folder, files, or arrays;
    each is cut to its middle, and needs a margin of about half a psf all round. psf: text, file or array.
    protocol: "quick", "standard" or "paper", of fixed sizes. minutes: cut the study until it fits; what was
    cut is in the plan, and depends on the clock: the record's "protocol" given as sizes, without its name and
    minutes, makes the same study on any machine. out: folder for report.json, per_image.csv, report.html and
    the units of work; None writes nothing.
    resume: go on with what is in out, as far as this very code made it. boundary: "unknown", or "circular"
    for methods that know nothing else.
    prior: as in `deblur`, for the methods that take one. sizes: single fields of the protocol changed.
    cluster: as in `deblur`: units of work are shared out, their numbers are those of one thread here.

    Returns
    -------
    The content of report.json. Every worst case is a lower bound: what was found, not what exists.

    Raises UsageError, InputError.
    """
    from proxlab.cluster import check_cluster, connected
    from proxlab.report import summarise, write_report

    if cluster is not None:
        check_cluster(cluster)
    _check_out(out)
    speak = say or _silent
    started = time.perf_counter()
    asked = _protocol(protocol, minutes, sizes)
    with _folder(out) as folder, connected(cluster) as workers:
        study = prepare_study(
            methods, images, psf, asked, (seed, device, boundary, prior), workers.count if workers else None
        )
        study = _settle(study, out, resume)
        for line in study.plan():
            speak(line)
        begun = time.perf_counter()
        units = run_study(study, folder, resume=resume, say=speak, workers=workers)
        ended = time.perf_counter()
        setting = {"command": command, "seconds": ended - started, "seconds_of_work": ended - begun}
        record = summarise(study, units, {**setting, "psf": psf_text(psf)})
        if out is not None:
            write_report(record, units, folder)
    return record


def run_study(
    study: Study,
    folder: Path,
    *,
    resume: bool,
    say: Callable[[str], object],
    workers: Workers | None = None,
) -> dict[str, list[dict[str, Any]]]:
    """Every unit of work, by part; progress with the time left, estimated from what was expected so far."""
    from proxlab.trials.elsewhere import Ahead
    from proxlab.trials.origin import code_digest
    from proxlab.trials.store import Store
    from proxlab.trials.units import pictured_level

    store = Store(folder / "units", resume=resume, code=code_digest())
    units: dict[str, list[dict[str, Any]]] = {}
    known: dict[str, dict[str, tuple[Any, float]]] = {}  # picture -> method -> its worst perturbation, error
    todo = list(_units(study, known))
    if stale := store.stale((key, inputs) for key, inputs, _, _ in todo):
        say(stale)
    expected, spent, last, begun = sum(cost for _, _, cost, _ in todo), 0.0, 0.0, time.perf_counter()
    worked = worked_cost = 0.0
    for key, inputs, cost, work in todo if workers is None else Ahead(workers, store).units(todo):
        fresh, start = not store.done(key, inputs), time.perf_counter()
        record = store.get(key, inputs, work)
        unit = _with_pictures(store, record)
        units.setdefault(key[0], []).append(unit)
        if "arrays" in unit and key[0] == "worst":
            error = unit["levels"][f"{pictured_level(study.bench.protocol):g}"]["error"]
            known.setdefault(key[2], {})[key[1]] = (unit["arrays"]["perturbation"], error)
        spent += cost
        if fresh:
            worked, worked_cost = worked + time.perf_counter() - start, worked_cost + cost
        pace = (worked + TRUSTED) / (worked_cost + TRUSTED * study.workers)
        left = (expected - spent) * pace
        if time.perf_counter() - last > 2:
            last = time.perf_counter()
            say(f"{spent / max(expected, 1e-9):4.0%}  {' '.join(key[:3])}  about {clock(left)} left")
    say(f"done in {clock(time.perf_counter() - begun)}")
    return units


def _units(study: Study, known: dict[str, dict[str, tuple[Any, float]]]) -> Iterator[Unit]:
    """Key, inputs, expected seconds and work of every unit; picture by picture, so a stop leaves tables."""
    for n, scene in enumerate(study.scenes):
        for subject in study.subjects:
            yield from _units_of(study, n, scene, subject)
        if n < study.bench.protocol.attacked:
            yield from _transfers(study, scene, known.setdefault(scene.name, {}))


def _transfers(study: Study, scene: Scene, known: dict[str, tuple[Any, float]]) -> Iterator[Unit]:
    """Every subject under the others' worst perturbations, which `known` holds by then."""
    from proxlab.trials import units as u

    p, everyone = study.bench.protocol, [_base(study, scene, s) for s in study.subjects]
    for s in study.subjects:
        cost = seconds(p, study.speeds[s.name], others=len(study.subjects) - 1)["transfer"] / p.attacked
        inputs = (_effort(p, _base(study, scene, s)), everyone)
        work = partial(u.transfer_unit, study.bench, s, scene, known)
        yield ("transfer", s.name, scene.name), inputs, cost, work


def _base(study: Study, scene: Scene, s: Subject) -> tuple[Any, ...]:
    """What every number of a subject on a picture depends on."""
    b = study.bench
    weights = dict(b.weights.get(s.name, {}))
    return (scene.digest, s.name, s.digest, s.way, b.seed, b.device, b.boundary, weights)


def _effort(p: Protocol, base: tuple[Any, ...]) -> tuple[Any, ...]:
    return base, p.attack_levels, p.iterations, p.restarts, p.boxes, p.middle


def _units_of(study: Study, n: int, scene: Scene, s: Subject) -> Iterator[Unit]:
    """Those of one subject on the n-th picture."""
    from proxlab.trials import units as u
    from proxlab.trials.exact import exact_unit
    from proxlab.trials.shifts import departures

    b, p = study.bench, study.bench.protocol
    cost = seconds(p, study.speeds[s.name], others=len(study.subjects) - 1)
    name, base = (s.name, scene.name), _base(study, scene, s)
    for level in p.levels:
        share = cost["noise"] / p.pictures / len(p.levels)
        yield (
            ("noise", *name, f"{level:g}"),
            (base, p.draws),
            share,
            partial(u.noise_unit, b, s, scene, level),
        )
    if n < p.attacked:
        work = partial(u.worst_unit, b, s, scene)
        yield ("worst", *name), _effort(p, base), cost["worst"] / p.attacked, work
    few = min(2, p.attacked)
    if n < few and p.lipschitz:
        inputs = (base, p.lipschitz, p.middle)
        yield ("lipschitz", *name), inputs, cost["lipschitz"] / few, partial(u.lipschitz_unit, b, s, scene)
    if n == 0 and p.exact and s.weigh is not None:
        yield ("exact", *name), (base, p.exact, p.middle), cost["exact"], partial(exact_unit, b, s, scene)
    if n < p.detailed:
        yield (
            ("detail", *name),
            (base, p.middle),
            cost["detail"] / p.detailed,
            partial(u.detail_unit, b, s, scene),
        )
    listed = departures(short=p.short_shifts) if n < p.shifted else []
    for shift in listed:
        share = cost["shift"] / p.shifted / len(listed)
        yield ("shift", *name, shift.name), (base, p.middle), share, partial(u.shift_unit, b, s, scene, shift)


def _with_pictures(store: Store, record: dict[str, Any]) -> dict[str, Any]:
    return {**record, "arrays": store.pictures(record)} if "pictures" in record else record


def _settle(study: Study, out: str | Path | None, resume: bool) -> Study:
    """The plan of an interrupted study holds for its continuation, whatever the clock says now."""
    if out is None:
        return study
    from imaging.files.atomic import atomic_write

    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "plan.json"
    if resume and path.exists():
        saved = json.loads(path.read_text("utf-8"))
        if saved["asked"] == json.loads(json.dumps(study.asked.as_dict())):
            bench = replace(study.bench, protocol=Protocol(**saved["protocol"]))
            return replace(study, bench=bench, cuts=tuple(saved["cuts"]))
    record = {"protocol": study.bench.protocol.as_dict(), "asked": study.asked.as_dict(), "cuts": study.cuts}
    with atomic_write(path, overwrite=True) as stream:
        stream.write(json.dumps(record, indent=1).encode())
    return study


def _check_out(out: str | Path | None) -> None:
    """Refuse a report that could not be written, before hours of work."""
    if out is not None and Path(out).exists() and not Path(out).is_dir():
        message = f"out is {str(out)!r}, a file: the report is a folder, give the name of one."
        raise UsageError(message)


def _folder(out: str | Path | None) -> Any:
    """A context that gives the folder to work in: the user's, or one that vanishes."""
    from contextlib import nullcontext
    from tempfile import TemporaryDirectory

    if out is not None:
        return nullcontext(Path(out))

    class _Vanishing(TemporaryDirectory):  # type: ignore[type-arg]
        def __enter__(self) -> Path:  # type: ignore[override]
            return Path(super().__enter__())

    return _Vanishing()


def _protocol(name: str, minutes: float | None, sizes: Mapping[str, Any] | None) -> Protocol:
    if name not in PROTOCOLS:
        message = f"protocol is {name!r}: wanted one of {', '.join(PROTOCOLS)}."
        raise UsageError(message)
    if (sizes or {}).get("name", name) != name:
        message = f"sizes has the name {(sizes or {})['name']!r}: leave it out, protocol says it."
        raise UsageError(message)
    changed = {**(sizes or {}), **({} if minutes is None else {"minutes": minutes})}
    try:
        return replace(PROTOCOLS[name], **changed)
    except TypeError as cause:
        message = f"sizes has an unknown field ({cause}): see proxlab.trials.protocol.Protocol."
        raise UsageError(message) from cause
    except ValueError as cause:
        raise UsageError(str(cause)) from cause


def _silent(text: str) -> None:
    """Nobody listens."""
