"""From units of work to the record of a study: curves, tables, flags, and the three files."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from proxlab.job import plain_json, versions

if TYPE_CHECKING:
    from proxlab.study import Study

SCHEMA = "proxlab-robustness/1"
Units = Mapping[str, Sequence[Mapping[str, Any]]]


def summarise(study: Study, units: Units, setting: Mapping[str, Any]) -> dict[str, Any]:
    """Every number of the report, in types JSON has; setting holds the command, the seconds and the psf."""
    from proxlab.pages.verdict import verdict_of

    b, p = study.bench, study.bench.protocol
    record: dict[str, Any] = {
        "schema": SCHEMA,
        "command": setting["command"],
        "seconds": setting["seconds"],
        "seconds_expected": study.seconds,
        "seed": b.seed,
        "device": b.device,
        "boundary": b.boundary,
        "psf": setting["psf"],
        "versions": versions(),
        "protocol": p.as_dict(),
        "cuts": list(study.cuts),
        "plan": study.plan(),
        "tuned_on": list(study.tuned_on),
        "weights": b.weights,
        "pictures": [{"name": s.name, "size": s.truth.shape, "digest": s.digest[:16]} for s in study.scenes],
        "methods": [_method(s, units) for s in study.subjects],
        "curves": {s.name: _curve(study, s.name, units) for s in study.subjects},
        "boxes": {s.name: _boxes(study, s.name, units) for s in study.subjects},
        "stability": {s.name: _stability(study, s.name, units) for s in study.subjects},
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
    """Every number of every picture as CSV: part, method, picture, condition, draw, then the figures."""
    stream = io.StringIO()
    names = ("relative", "error", "psnr", "ssim", "patch")
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
    return [
        {"picture": unit["key"][2], "method": unit["key"][1], "arrays": unit["arrays"]}
        for name in chosen
        for unit in attacked
        if unit["key"][2] == name
    ]


def _rows(units: Units) -> Iterable[tuple[str, str, str, str, Any, Mapping[str, Any]]]:
    for unit in units.get("noise", ()):
        _, method, picture, level = unit["key"]
        yield "clean", method, picture, level, "", unit["clean"]
        for draw, values in enumerate(unit["noisy"]):
            yield "random", method, picture, level, draw, values
    for unit in units.get("worst", ()):
        for level, values in unit["levels"].items():
            yield "worst", unit["key"][1], unit["key"][2], level, "", values
        for box, values in unit["boxes"].items():
            yield "worst l-infinity", unit["key"][1], unit["key"][2], f"{box}/255", "", values
    for unit in units.get("shift", ()):
        if "relative" in unit:
            yield "departure", unit["key"][1], unit["key"][2], unit["key"][3], "", unit


def _of(units: Units, part: str, method: str) -> list[Mapping[str, Any]]:
    return [unit for unit in units.get(part, ()) if unit["key"][1] == method]


def _method(subject: Any, units: Units) -> dict[str, Any]:
    worst = _of(units, "worst", subject.name)
    return {
        "name": subject.name,
        "summary": subject.summary,
        "gradient": worst[0]["gradient"] if worst else "not attacked",
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
    worst = {u["key"][2]: u["levels"] for u in _of(units, "worst", method)}
    entries = []
    for level in p.levels:
        name = f"{level:g}"
        noise = [u for u in _of(units, "noise", method) if u["key"][3] == name]
        random = {u["key"][2]: _mean(v["relative"] for v in u["noisy"]) for u in noise if u["noisy"]}
        found = {picture: levels[name] for picture, levels in worst.items() if name in levels}
        both = {k: found[k]["relative"] / random[k] for k in found if random.get(k)}
        entries.append(
            {
                "level": level,
                "sigma": _mean(u["sigma"] for u in noise),
                "lam": _mean(u["lam"] for u in noise if u["lam"] is not None),
                "clean": statistics([u["clean"]["relative"] for u in noise], **options),
                "random": statistics([v for v in random.values() if v is not None], **options),
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


def _paired(study: Study, method: str, units: Units, level: str) -> dict[str, Any] | None:
    """Random error minus that of total variation, picture by picture."""
    values: dict[str, dict[str, float]] = {}
    for name in (method, "tv"):
        values[name] = {
            u["key"][2]: sum(v["relative"] for v in u["noisy"]) / len(u["noisy"])
            for u in _of(units, "noise", name)
            if u["key"][3] == level and u["noisy"]
        }
    shared = [k for k in values[method] if k in values["tv"]]
    if method == "tv" or not shared:
        return None
    return statistics([values[method][k] - values["tv"][k] for k in shared], **_options(study))


def _boxes(study: Study, method: str, units: Units) -> dict[str, Any]:
    worst = _of(units, "worst", method)
    names = list(dict.fromkeys(name for u in worst for name in u["boxes"]))
    options = _options(study)
    return {n: statistics([u["boxes"][n]["relative"] for u in worst], **options) for n in names}


def _stability(study: Study, method: str, units: Units) -> dict[str, Any]:
    """The constants at the middle level, in norms of whole pictures, and what is proven."""
    import torch

    from algorithms.stability import VARIATIONAL_DATA_MAP, Errors, stability_table

    middle = f"{study.bench.protocol.middle:g}"
    noise = [u for u in _of(units, "noise", method) if u["key"][3] == middle and u["noisy"]]
    table: dict[str, Any] = {}
    if noise:
        noisy = torch.tensor([[v["error"] for v in u["noisy"]] for u in noise], dtype=torch.float64)
        errors = Errors(
            torch.tensor([u["clean"]["error"] for u in noise], dtype=torch.float64),
            noisy,
            torch.tensor([u["moved"] for u in noise], dtype=torch.float64),
            torch.tensor([[u["size"]] * noisy.shape[1] for u in noise], dtype=torch.float64),
        )
        options = _options(study)
        table = {name: vars(value) for name, value in stability_table(errors, **options).items()}
    sharp = _of(units, "lipschitz", method)
    if sharp:
        table["lipschitz_local"] = _bare(
            max(u["value"] for u in sharp),
            "empirical lower bound",
            "largest |Psi(Kx+e) - Psi(Kx)| / |e| found by ascent, |e| a tenth of the middle budget",
        )
    worst = _of(units, "worst", method)
    sizes = {u["key"][2]: u["size"] for u in noise}
    clean = [u["levels"][middle]["clean"]["error"] for u in worst if middle in u["levels"]]
    if clean:
        eta = max(clean)
        table["worst_constant_attacked"] = _bare(
            max((u["levels"][middle]["error"] - eta) / sizes[u["key"][2]] for u in worst),
            "empirical lower bound",
            "C with the worst e found instead of random ones, over the attacked pictures",
        )
    if method == "tv":
        text = "y -> A Psi(y) of a convex variational method is firmly non-expansive"
        table["data_map"] = _bare(VARIATIONAL_DATA_MAP, "proven upper bound", text)
    return table


def _bare(value: float, kind: str, definition: str) -> dict[str, Any]:
    return {"value": value, "low": None, "high": None, "kind": kind, "definition": definition}


def _shifts(study: Study, units: Units) -> list[dict[str, Any]]:
    from proxlab.trials.shifts import departures

    rows = []
    for shift in departures(short=study.bench.protocol.short_shifts):
        row: dict[str, Any] = {"name": shift.name, "group": shift.group, "methods": {}}
        for subject in study.subjects:
            found = [u for u in _of(units, "shift", subject.name) if u["key"][3] == shift.name]
            usable = [u for u in found if "relative" in u]
            row["methods"][subject.name] = {
                "relative": _mean(u["relative"] for u in usable),
                "psnr": _mean(u["psnr"] for u in usable),
                "missing": next((u["missing"] for u in found if "missing" in u), None),
            }
        rows.append(row)
    return rows


def _details(units: Units, method: str) -> dict[str, Any]:
    found = _of(units, "detail", method)
    kinds = list(dict.fromkeys(kind for u in found for kind in u["details"]))
    names = ("contrast", "eta", "constant", "bound", "size", "seen", "unstable_below")
    return {kind: {n: _mean(u["details"][kind][n] for u in found) for n in names} for kind in kinds}


def _flags(units: Units) -> list[dict[str, Any]]:
    """One entry a method and kind of flag, with how often it was raised and the first text."""
    merged: dict[tuple[str, str], dict[str, Any]] = {}
    for unit in units.get("worst", ()):
        for flag in unit["flags"]:
            key = (unit["key"][1], flag["name"])
            entry = merged.setdefault(key, {"method": key[0], **flag, "count": 0, "picture": unit["key"][2]})
            entry["count"] += 1
            if flag["level"] == "error":
                entry.update(level="error", text=flag["text"])
    order = {"error": 0, "warning": 1, "note": 2}
    return sorted(merged.values(), key=lambda f: (order.get(str(f["level"]), 3), f["method"]))


def _options(study: Study) -> dict[str, int]:
    return {"resamples": study.bench.protocol.resamples, "seed": study.bench.seed}


def _mean(values: Iterable[float | None]) -> float | None:
    known = [v for v in values if v is not None]
    return sum(known) / len(known) if known else None
