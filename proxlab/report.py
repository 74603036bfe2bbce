"""From units of work to the record of a study: curves, tables, flags, and the three files."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from proxlab.job import digest, plain_json, versions
from proxlab.trials.constants import Units, constants_of, units_of

if TYPE_CHECKING:
    from proxlab.study import Study

SCHEMA = "proxlab-robustness/1"


def summarise(study: Study, units: Units, setting: Mapping[str, Any]) -> dict[str, Any]:
    """Every number of the report, in types JSON has; setting holds the command, the times and the psf."""
    from proxlab.pages.verdict import verdict_of
    from proxlab.trials.origin import code_digest
    from proxlab.trials.protocol import again

    b, p = study.bench, study.bench.protocol
    record: dict[str, Any] = {
        "schema": SCHEMA,
        "command": setting["command"],
        "again": again(setting["command"], p),
        "seconds": setting["seconds"],
        "seconds_of_work": setting["seconds_of_work"],
        "seconds_expected": study.seconds,
        "seed": b.seed,
        "device": b.device,
        "boundary": b.boundary,
        "psf": setting["psf"],
        "psf_digest": digest(study.scenes[0].psf)[:16],
        "versions": versions(),
        "code": code_digest()[:16],
        "protocol": p.as_dict(),
        "cuts": list(study.cuts),
        "plan": study.plan(),
        "tuned_on": list(study.tuned_on),
        "weights": b.weights,
        "pictures": [{"name": s.name, "size": s.truth.shape, "digest": s.digest[:16]} for s in study.scenes],
        "methods": [_method(s, units) for s in study.subjects],
        "curves": {s.name: _curve(study, s.name, units) for s in study.subjects},
        "boxes": {s.name: _boxes(study, s.name, units) for s in study.subjects},
        "stability": {s.name: constants_of(study, s, units) for s in study.subjects},
        "shifts": _shifts(study, units),
        "details": {s.name: _details(units, s.name) for s in study.subjects},
        "flags": _flags(units),
    }
    record["verdict"] = verdict_of(record)
    plain: dict[str, Any] = plain_json(record)
    return plain


def write_report(record: Mapping[str, Any], units: Units, folder: Path) -> None:
    """report.json, per_image.csv and report.html in a folder; earlier ones are replaced."""
    from imaging.files.atomic import atomic_write
    from proxlab.pages.page import page_of

    texts = {
        "report.json": json.dumps(record, indent=1, ensure_ascii=False),
        "per_image.csv": table_of(units),
        "report.html": page_of(record, gallery_of(units)),
    }
    for name, text in texts.items():
        with atomic_write(folder / name, overwrite=True) as stream:
            stream.write(text.encode())


def table_of(units: Units) -> str:
    """Every number of every picture as CSV: part, method, picture, condition, draw, then the figures.

    value: what belongs to the parts that have one number, the constants and the details.
    """
    stream = io.StringIO()
    names = ("relative", "error", "psnr", "ssim", "patch", "value")
    writer = csv.writer(stream)
    writer.writerow(["part", "method", "picture", "condition", "draw", *names])
    for part, method, picture, condition, draw, values in _rows(units):
        writer.writerow([part, method, picture, condition, draw, *(values.get(name, "") for name in names)])
    return stream.getvalue()


def gallery_of(units: Units) -> list[dict[str, Any]]:
    """Pictures of the median and the worst attacked picture, one entry a method each."""
    attacked = [unit for unit in units.get("worst", ()) if "arrays" in unit]
    pictures = list(dict.fromkeys(unit["key"][2] for unit in attacked))
    if not pictures:
        return []
    hardness = {
        name: sum(max(v["relative"] for v in u["levels"].values()) for u in attacked if u["key"][2] == name)
        for name in pictures
    }
    ranked = sorted(pictures, key=hardness.__getitem__)
    chosen = dict.fromkeys([ranked[len(ranked) // 2], ranked[-1]])
    stronger = {tuple(u["key"][1:3]): u for u in units.get("transfer", ()) if "arrays" in u}
    return [
        _pictured(unit, stronger.get(tuple(unit["key"][1:3])))
        for name in chosen
        for unit in attacked
        if unit["key"][2] == name
    ]


def _pictured(unit: Mapping[str, Any], stronger: Mapping[str, Any] | None) -> dict[str, Any]:
    """The worst that was found: by the method's own attack, or made for another method and stronger here."""
    entry = {"picture": unit["key"][2], "method": unit["key"][1], "arrays": unit["arrays"], "made_for": None}
    if stronger is None:
        return entry
    made_for = max(stronger["from"], key=lambda name: stronger["from"][name]["error"])
    return {**entry, "arrays": {**unit["arrays"], **stronger["arrays"]}, "made_for": made_for}


def _rows(units: Units) -> Iterable[tuple[str, str, str, str, Any, Mapping[str, Any]]]:
    for unit in units.get("noise", ()):
        _, method, picture, level = unit["key"]
        yield "clean", method, picture, level, "", unit["clean"]
        for draw, values in enumerate(unit["noisy"]):
            yield "random", method, picture, level, draw, values
        if "estimated" in unit:
            yield "random, level estimated", method, picture, level, 0, unit["estimated"]
    for unit in units.get("worst", ()):
        for level, values in unit["levels"].items():
            yield "worst", unit["key"][1], unit["key"][2], level, "", values
        for box, values in unit["boxes"].items():
            yield "worst l-infinity", unit["key"][1], unit["key"][2], f"{box}/255", "", values
    for unit in units.get("transfer", ()):
        for other, values in unit["from"].items():
            yield "transfer", unit["key"][1], unit["key"][2], f"{unit['level']} from {other}", "", values
    for unit in units.get("shift", ()):
        if "relative" in unit:
            yield "departure", unit["key"][1], unit["key"][2], unit["key"][3], "", unit
    yield from _single_numbers(units)


def _single_numbers(units: Units) -> Iterable[tuple[str, str, str, str, Any, Mapping[str, Any]]]:
    for unit in units.get("lipschitz", ()):
        yield "local Lipschitz", unit["key"][1], unit["key"][2], f"radius {unit['radius']:.4g}", "", unit
    for unit in units.get("detail", ()):
        for kind, values in unit["details"].items():
            for name, value in values.items():
                yield "detail", unit["key"][1], unit["key"][2], f"{kind}: {name}", "", {"value": value}


def _method(subject: Any, units: Units) -> dict[str, Any]:
    worst = units_of(units, "worst", subject.name)
    return {
        "name": subject.name,
        "summary": subject.summary,
        "gradient": worst[0]["gradient"] if worst else "not attacked",
        "attack_seconds": sum(unit["seconds"] for unit in worst),
        "prior": subject.prior,
        "digest": subject.digest,
    }


def statistics(values: Sequence[float], *, resamples: int, seed: int) -> dict[str, Any] | None:
    """Mean with its 95 % bootstrap interval over pictures, and how the values lie; None for none.

    >>> statistics([1.0, 3.0], resamples=10, seed=0)["mean"]
    2.0
    """
    import torch

    from algorithms.stability import mean_interval

    if not values:
        return None
    v = torch.tensor(values, dtype=torch.float64)
    low, high = mean_interval(v, resamples=resamples, seed=seed)
    return {
        "n": len(values),
        "mean": float(v.mean()),
        "low": low,
        "high": high,
        "std": float(v.std()) if len(values) > 1 else None,
        "median": float(v.median()),
        "p90": float(v.quantile(0.9)),
        "worst": float(v.max()),
    }


def _curve(study: Study, method: str, units: Units) -> list[dict[str, Any]]:
    """One entry a level: clean, random and worst relative errors, their ratio on the same pictures."""
    p, options = study.bench.protocol, _options(study)
    entries = []
    for level in p.levels:
        name = f"{level:g}"
        noise = [u for u in units_of(units, "noise", method) if u["key"][3] == name]
        random = {u["key"][2]: _mean(v["relative"] for v in u["noisy"]) for u in noise if u["noisy"]}
        found = worst_found(units, method, name)
        both = {k: found[k]["relative"] / random[k] for k in found if random.get(k)}
        entries.append(
            {
                "level": level,
                "sigma": _mean(u["sigma"] for u in noise),
                "lam": _mean(u["lam"] for u in noise if u["lam"] is not None),
                "clean": statistics([u["clean"]["relative"] for u in noise], **options),
                "random": statistics([v for v in random.values() if v is not None], **options),
                "estimated": statistics(
                    [u["estimated"]["relative"] for u in noise if "estimated" in u], **options
                ),
                "worst": statistics([v["relative"] for v in found.values()], **options),
                "ratio": statistics(list(both.values()), **options),
                "random_psnr": _mean(v["psnr"] for u in noise for v in u["noisy"]),
                "random_ssim": _mean(v["ssim"] for u in noise for v in u["noisy"]),
                "random_patch": _mean(v["patch"] for u in noise for v in u["noisy"]),
                "worst_psnr": _mean(v["psnr"] for v in found.values()),
                "worst_ssim": _mean(v["ssim"] for v in found.values()),
                "worst_patch": _mean(v["patch"] for v in found.values()),
                "against_tv": _paired(study, method, units, name),
            }
        )
    return entries


def worst_found(units: Units, method: str, level: str) -> dict[str, Mapping[str, Any]]:
    """Picture -> figures of the largest error that anything found at that budget.

    The attack, the draws of random noise, and the perturbations made for other methods.
    """
    found = {
        u["key"][2]: u["levels"][level] for u in units_of(units, "worst", method) if level in u["levels"]
    }
    rivals = [
        (u["key"][2], v) for u in units_of(units, "noise", method) if u["key"][3] == level for v in u["noisy"]
    ]
    for unit in units_of(units, "transfer", method):
        if unit["level"] == level:
            rivals += [(unit["key"][2], values) for values in unit["from"].values()]
    for picture, values in rivals:
        if picture in found and values["error"] > found[picture]["error"]:
            found[picture] = values
    return found


def _paired(study: Study, method: str, units: Units, level: str) -> dict[str, Any] | None:
    """Random error minus that of total variation, picture by picture."""
    values: dict[str, dict[str, float]] = {}
    for name in (method, "tv"):
        values[name] = {
            u["key"][2]: sum(v["relative"] for v in u["noisy"]) / len(u["noisy"])
            for u in units_of(units, "noise", name)
            if u["key"][3] == level and u["noisy"]
        }
    shared = [k for k in values[method] if k in values["tv"]]
    if method == "tv" or not shared:
        return None
    return statistics([values[method][k] - values["tv"][k] for k in shared], **_options(study))


def _boxes(study: Study, method: str, units: Units) -> dict[str, Any]:
    worst = units_of(units, "worst", method)
    names = list(dict.fromkeys(name for u in worst for name in u["boxes"]))
    options = _options(study)
    return {n: statistics([u["boxes"][n]["relative"] for u in worst], **options) for n in names}


def _shifts(study: Study, units: Units) -> list[dict[str, Any]]:
    from proxlab.trials.shifts import departures

    rows = []
    for shift in departures(short=study.bench.protocol.short_shifts):
        row: dict[str, Any] = {"name": shift.name, "group": shift.group, "methods": {}}
        for subject in study.subjects:
            found = [u for u in units_of(units, "shift", subject.name) if u["key"][3] == shift.name]
            usable = [u for u in found if "relative" in u]
            row["methods"][subject.name] = {
                "relative": _mean(u["relative"] for u in usable),
                "psnr": _mean(u["psnr"] for u in usable),
                "missing": next((u["missing"] for u in found if "missing" in u), None),
            }
        rows.append(row)
    return rows


def _details(units: Units, method: str) -> dict[str, Any]:
    found = units_of(units, "detail", method)
    kinds = list(dict.fromkeys(kind for u in found for kind in u["details"]))
    names = ("contrast", "eta", "constant", "bound", "size", "seen", "unstable_below")
    return {kind: {n: _mean(u["details"][kind][n] for u in found) for n in names} for kind in kinds}


def _flags(units: Units) -> list[dict[str, Any]]:
    """One entry a method and kind of flag, with how often it was raised and the first text."""
    merged: dict[tuple[str, str], dict[str, Any]] = {}
    raised = [(u, flag) for part in ("worst", "transfer") for u in units.get(part, ()) for flag in u["flags"]]
    for unit, flag in [*raised, *_outdone(units)]:
        key = (unit["key"][1], flag["name"])
        entry = merged.setdefault(key, {"method": key[0], **flag, "count": 0, "picture": unit["key"][2]})
        entry["count"] += 1
        if flag["level"] == "error":
            entry.update(level="error", text=flag["text"])
    order = {"error": 0, "warning": 1, "note": 2}
    return sorted(merged.values(), key=lambda f: (order.get(str(f["level"]), 3), f["method"]))


def _outdone(units: Units) -> Iterable[tuple[Mapping[str, Any], dict[str, Any]]]:
    """Attacks that found less than a draw of random noise on the same picture did."""
    from dataclasses import asdict

    from algorithms.sanity import check_transfer

    random = {tuple(u["key"][1:]): u["noisy"] for u in units.get("noise", ())}
    for unit in units.get("worst", ()):
        for level, values in unit["levels"].items():
            draws = random.get((*unit["key"][1:3], level), ())
            flag = check_transfer(
                values["error"], {"random noise": max((v["error"] for v in draws), default=0)}
            )
            if flag:
                yield unit, {**asdict(flag), "budget": float(level)}


def _options(study: Study) -> dict[str, int]:
    return {"resamples": study.bench.protocol.resamples, "seed": study.bench.seed}


def _mean(values: Iterable[float | None]) -> float | None:
    known = [v for v in values if v is not None]
    return sum(known) / len(known) if known else None
