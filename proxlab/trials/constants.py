"""Accuracy and stability of one method from its units of work, with what is proven about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from proxlab.trials.preparation import Study
    from proxlab.trials.subjects import Subject

Units = Mapping[str, Sequence[Mapping[str, Any]]]


def units_of(units: Units, part: str, method: str) -> list[Mapping[str, Any]]:
    """The units of one part that belong to a method."""
    return [unit for unit in units.get(part, ()) if unit["key"][1] == method]


def constants_of(study: Study, subject: Subject, units: Units) -> dict[str, Any]:
    """The constants at the middle level, in norms of whole pictures, and what is proven."""
    import torch

    from algorithms.stability import Errors, stability_table

    middle = f"{study.bench.protocol.middle:g}"
    noise = [u for u in units_of(units, "noise", subject.name) if u["key"][3] == middle and u["noisy"]]
    table: dict[str, Any] = {}
    if noise:
        noisy = torch.tensor([[v["error"] for v in u["noisy"]] for u in noise], dtype=torch.float64)
        errors = Errors(
            torch.tensor([u["clean"]["error"] for u in noise], dtype=torch.float64),
            noisy,
            torch.tensor([u["moved"] for u in noise], dtype=torch.float64),
            torch.tensor([[u["size"]] * noisy.shape[1] for u in noise], dtype=torch.float64),
        )
        resamples, seed = study.bench.protocol.resamples, study.bench.seed
        found = stability_table(errors, resamples=resamples, seed=seed)
        table = {name: vars(value) for name, value in found.items()}
    sharp = units_of(units, "lipschitz", subject.name)
    if sharp:
        table["lipschitz_local"] = _bare(
            max(u["value"] for u in sharp),
            "empirical lower bound",
            "largest |Psi(Kx+e) - Psi(Kx)| / |e| found by ascent, |e| a tenth of the middle budget",
        )
    worst = units_of(units, "worst", subject.name)
    sizes = {u["key"][2]: u["size"] for u in noise}
    clean = [u["levels"][middle]["clean"]["error"] for u in worst if middle in u["levels"]]
    if clean:
        eta = max(clean)
        table["worst_constant_attacked"] = _bare(
            max((u["levels"][middle]["error"] - eta) / sizes[u["key"][2]] for u in worst),
            "empirical lower bound",
            "C with the worst e found instead of random ones, over the attacked pictures",
        )
    return table | _proven(study, subject, noise, units)


def _proven(study: Study, subject: Subject, noise: list[Mapping[str, Any]], units: Units) -> dict[str, Any]:
    """What theory gives: linear methods exactly, convex ones on the data, networks bounded by their layers.

    Nothing for learned proximal networks: their strong convexity bounds the constant from below only.
    """
    from algorithms.stability import VARIATIONAL_DATA_MAP, tikhonov_gain

    rows = {}
    if subject.name == "tv":
        text = "y -> A Psi(y) of a convex variational method is firmly non-expansive"
        rows["data_map"] = _bare(VARIATIONAL_DATA_MAP, "proven upper bound", text)
    gain: tuple[float, float] | None = None
    if subject.name == "identity":
        gain = (1.0, 1.0)
    weights = [u["lam"] for u in noise if u["lam"] is not None]
    if subject.name == "tikhonov" and weights and study.bench.boundary == "circular":
        op = study.scenes[0].operator("circular")
        gain = tikhonov_gain(op, lam=min(weights))
    if gain is not None:
        text = "largest singular value of the method, linear at its (smallest) weight"
        rows["lipschitz_exact"] = _bare(gain[0], "exact", text)
        text = "root mean square of its singular values: the gain under white noise"
        rows["rms_exact"] = _bare(gain[1], "exact", text)
    for unit in units_of(units, "exact", subject.name):
        share = f"{100 * unit['tolerance']:g} %"
        rows["lipschitz_quadratic"] = _bare(
            unit["value"],
            f"exact to {share}",
            "largest singular value of the linear map at the weight of the first picture, "
            f"by {unit['steps']} Lanczos steps: the true one is at most {share} larger, but for a chance of "
            "0.1 %; where the weight is chosen from the data the method is not linear, and can be worse",
        )
    if subject.bound is not None:
        text = "every layer of the network is bounded, the pre-processor expands nothing"
        rows["lipschitz_bound"] = _bare(subject.bound, "proven upper bound", text)
    return rows


def _bare(value: float, kind: str, definition: str) -> dict[str, Any]:
    return {"value": value, "low": None, "high": None, "kind": kind, "definition": definition}
