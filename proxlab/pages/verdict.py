"""The study in one paragraph, which claims no more than was measured."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

CLEAR = 0.1  # worst errors nearer to each other than this share of the smallest are no reason to choose


def unreliable(record: Mapping[str, Any]) -> list[str]:
    """Methods of which a worst case is not to be believed: an error among their flags."""
    return sorted({flag["method"] for flag in record["flags"] if flag["level"] == "error"})


def _unreliable_l2(record: Mapping[str, Any]) -> list[str]:
    """Those whose worst case in l2 is, which is what the paragraph speaks of."""
    flags = [flag for flag in record["flags"] if not str(flag.get("name", "")).startswith("linf_")]
    return unreliable({"flags": flags})


def verdict_of(record: Mapping[str, Any]) -> str:
    """Which method errs least under random and under worst noise, which loses most, and the scope."""
    level = _middle(record)
    found = {name: _entry(curve, level) for name, curve in record["curves"].items()}
    entries = {name: e for name, e in found.items() if e and e["random"]}
    if not entries:
        return "Nothing was measured."
    share = f"{100 * level:g} %"
    random = sorted(entries, key=lambda n: entries[n]["random"]["mean"])
    count = entries[random[0]]["random"]["n"]
    parts = [
        f"At a noise budget of {share} of the data, on {count} picture{_s(count)}, {random[0]} errs least "
        f"under random noise (mean relative error {_p(entries[random[0]]['random']['mean'])}), before "
        + ", ".join(f"{n} ({_p(entries[n]['random']['mean'])})" for n in random[1:4])
        + "."
    ]
    attacked, bad = [n for n in entries if entries[n]["worst"]], _unreliable_l2(record)
    if attacked:
        parts += _worst(entries, attacked, [n for n in attacked if n not in bad])
    if bad:
        parts.append(
            f"The worst case of {', '.join(bad)} is unreliable: the attack failed its own checks (flags)."
        )
    parts.append(
        "Worst cases are the largest errors that were found with the stated effort: where none larger is "
        "shown, none was found, which is not a proof that there is none."
    )
    return " ".join(parts)


def _worst(entries: Mapping[str, Any], attacked: list[str], sound: list[str]) -> list[str]:
    """Only a sound attack shows a method to be steady; an error that was found is one, whatever found it."""
    worst = sorted(sound, key=lambda n: entries[n]["worst"]["mean"])
    last = max(attacked, key=lambda n: entries[n]["worst"]["mean"])
    number = entries[last]["worst"]["n"]
    least = f"{worst[0]} errs least ({_p(entries[worst[0]]['worst']['mean'])}), {last} most" if worst else ""
    texts = [
        f"Under the worst noise of the same size that was found ({number} picture{_s(number)}), "
        f"{least or f'{last} errs most'} ({_p(entries[last]['worst']['mean'])})."
    ]
    ratios = {n: entries[n]["ratio"]["mean"] for n in attacked if entries[n]["ratio"]}
    if ratios:
        top = max(ratios, key=ratios.__getitem__)
        texts.append(
            f"The worst noise multiplies the error of random noise by up to {ratios[top]:.2f} ({top})."
        )
    return [*texts, *_advice({n: entries[n]["worst"] for n in worst}, number)]


def _advice(worst: Mapping[str, Any], number: int) -> list[str]:
    """Whom to trust where noise may be hostile, from the worst errors of sound attacks, smallest first.

    None from one picture, none where two cannot be told apart, none where leaving the data as they are is
    better than every method.
    """
    own = [n for n in worst if n != "identity"]
    if not own:
        return []
    if number == 1:
        return ["One attacked picture is too few to choose a method by."]
    first = worst[own[0]]["mean"]
    if "identity" in worst and first * (1 + CLEAR) > worst["identity"]["mean"]:
        return [
            f"No method that deblurs has a clearly smaller worst error than the data left as they are "
            f"({_p(worst['identity']['mean'])}); {own[0]} comes nearest."
        ]
    near = [n for n in own if worst[n]["mean"] <= (1 + CLEAR) * first]
    if len(near) > 1:
        return [
            f"Of the methods that deblur, {', '.join(near[:-1])} and {near[-1]} have the smallest worst "
            "errors, too close to one another to choose by."
        ]
    return [
        f"Of the methods that deblur, {own[0]} has the smallest worst error at this level: "
        "trust it first where the noise is not known to be random."
    ]


def _middle(record: Mapping[str, Any]) -> float:
    levels = record["protocol"]["levels"]
    return float(levels[len(levels) // 2])


def _entry(curve: list[Mapping[str, Any]], level: float) -> Mapping[str, Any] | None:
    return next((e for e in curve if e["level"] == level), None)


def _p(share: float) -> str:
    return f"{100 * share:.1f} %"


def _s(count: int) -> str:
    return "" if count == 1 else "s"
