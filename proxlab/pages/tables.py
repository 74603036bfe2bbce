"""The tables of the page, the flags, and how the study was made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

DASH = "&ndash;"
WORDS = "<!-- words -->"  # begins a cell that holds a sentence: wrapped, on the left


def table(caption: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """An accessible table; cells are HTML already, the first of a row is its header."""
    top = "".join(f'<th scope="col">{cell}</th>' for cell in head)
    body = "".join(
        f'<tr><th scope="row">{row[0]}</th>{"".join(_cell(cell) for cell in row[1:])}</tr>' for row in rows
    )
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(caption, quote=True)}"><table>'
        f"<caption><span>{escape(caption)}</span></caption><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def flag_list(record: Mapping[str, Any]) -> str:
    """The flags box; an empty one says so."""
    flags = record["flags"]
    if not flags:
        return '<p class="soft">No attack raised a flag.</p>'
    alike: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for flag in flags:
        alike.setdefault((flag["level"], flag["text"]), []).append(flag)
    items = "".join(_flag(same) for same in alike.values())
    return f'<ul class="flags" aria-label="Flags">{items}</ul>'


def curve_table(record: Mapping[str, Any]) -> str:
    """Relative error under random and worst noise, with figures of merit."""
    rows = []
    for name, curve in record["curves"].items():
        for e in curve:
            rows.append(
                [
                    escape(name),
                    f"{100 * e['level']:g} %",
                    number(e["sigma"], 3),
                    _stat(e["clean"]),
                    _stat(e["random"]),
                    _stat(e["estimated"]),
                    _stat(e["worst"]),
                    *(
                        DASH if e[f"{k}_{m}"] is None else f"{e[f'{k}_{m}']:.{digits}f}"
                        for m, digits in (("psnr", 1), ("ssim", 3), ("patch", 3))
                        for k in ("random", "worst")
                    ),
                    _difference(e["against_tv"]),
                ]
            )
    head = ["method", "budget", "sigma told", "clean", "random", "own level", "worst found"]
    head += ["PSNR random", "worst", "SSIM random", "worst", "16x16 patch random", "worst", "random minus tv"]
    text = (
        "Relative l2 errors in per cent, mean over pictures with its 95 % interval; own level: its own "
        "estimate of the noise level instead of the true one, one draw; PSNR on results clipped "
        "to [0, 1]; the patch column is the largest rms error of a patch"
    )
    return table(text, head, rows)


def ratio_table(record: Mapping[str, Any]) -> str:
    """Worst over random at equal budget, and the l-infinity results."""
    levels = record["protocol"]["attack_levels"]
    rows = []
    for name, curve in record["curves"].items():
        by_level = {e["level"]: e["ratio"] for e in curve}
        boxes = record["boxes"].get(name, {})
        rows.append(
            [
                escape(name),
                *(_ratio(by_level.get(level)) for level in levels),
                *(_stat(boxes.get(f"{box:g}")) for box in record["protocol"]["boxes"]),
            ]
        )
    head = ["method", *(f"{100 * level:g} %" for level in levels)]
    head += [f"l-infinity {box:g}/255, error" for box in record["protocol"]["boxes"]]
    text = (
        "Error of the worst perturbation found divided by the mean error of white noise of the same norm, on "
        "the same pictures; l-infinity columns are relative errors in per cent at the middle level"
    )
    return table(text, head, rows)


def stability_table(record: Mapping[str, Any]) -> str:
    """One row a statistic, with what it is and how it is defined."""
    names = list(record["stability"])
    keys = list(dict.fromkeys(key for entry in record["stability"].values() for key in entry))
    rows = []
    for key in keys:
        entries = [record["stability"][name].get(key) for name in names]
        first = next(e for e in entries if e)
        cells = [_interval(e) for e in entries]
        rows.append(
            [f'<span class="wide">{escape(first["definition"])}</span>', escape(first["kind"]), *cells]
        )
    head = ["definition", "what it is", *(escape(name) for name in names)]
    text = (
        "Norms are over whole pictures, at the middle budget. An empirical lower bound is what was seen: the "
        "true constant is at least that. Intervals are bootstrap intervals over pictures"
    )
    return table(text, head, rows)


def detail_table(record: Mapping[str, Any]) -> str:
    """How much of an inserted detail comes back."""
    details = {name: kinds for name, kinds in record["details"].items() if kinds}
    if not details:
        return ""
    kinds = list(next(iter(details.values())))
    rows = [
        [escape(name), *(number(d[kind]["contrast"], 2) for kind in kinds)] for name, d in details.items()
    ]
    text = "Share of an inserted detail's contrast that comes back from noise-free data (1 is all of it)"
    return table(text, ["method", *kinds], rows)


def shift_table(record: Mapping[str, Any]) -> str:
    """Errors on data that are not as believed, the best method of a row in bold."""
    names = [m["name"] for m in record["methods"]]
    rows = []
    if not record["protocol"]["shifted"]:
        return "<p>Data other than believed were left out of this study.</p>"
    for row in record["shifts"]:
        values = {n: row["methods"][n]["relative"] for n in names}
        known = [v for v in values.values() if v is not None]
        cells = []
        for name in names:
            value = values[name]
            text = DASH if value is None else f"{100 * value:.1f}"
            best = known and value == min(known)
            cells.append(f'<span class="best">{text}</span>' if best else text)
        rows.append([escape(row["name"]), *cells])
    text = (
        "Relative errors in per cent at the middle budget, noises of about the same root mean square; the "
        "first row is the reference, the smallest error of a row is bold, a dash: the method cannot"
    )
    return table(text, ["data", *(escape(n) for n in names)], rows)


def how(record: Mapping[str, Any]) -> str:
    """Methods, effort, cuts, versions, the command."""
    rows = [
        [escape(m["name"]), f"{WORDS}{escape(m['summary'])}", f"{WORDS}{escape(m['gradient'])}",
         f"{m['attack_seconds']:.0f}", escape(m["prior"] or "none"), escape((m["digest"] or "")[:16]) or DASH]
        for m in record["methods"]
    ]  # fmt: skip
    p = record["protocol"]
    effort = (
        "Attack: maximises the l2 error against the truth over |e|_2 = budget by power steps in the span of "
        f"the last steps, {p['iterations']} iterations, {p['restarts']} start(s), warm starts from larger to "
        "smaller budgets, no step size; rivals: a random search with a third of the calls (at most 16), "
        "the draws of random noise, and at the middle budget the perturbations made for the other methods; "
        "the worst of all is evaluated on the full method. Test data: a larger field blurred in float64, "
        f"only its inside kept; methods run in float32 with {record['boundary']} borders."
    )
    plan = "\n".join(record["plan"])
    taken = (
        f"{record['seconds'] / 60:.1f} minutes taken, preparation included; "
        f"{record['seconds_expected'] / 60:.1f} planned for the work, which took "
        f"{record['seconds_of_work'] / 60:.1f}."
    )
    versions = ", ".join(f"{k} {v}" for k, v in record["versions"].items())
    names = ", ".join(f"{s['name']} ({' x '.join(map(str, s['size']))})" for s in record["pictures"])
    seen = f"Pictures: {names}. Psf {record['psf']}, digest {record['psf_digest']}."
    command = ""
    if record["command"]:
        command = (
            f"<h3>Command</h3><pre>{escape(record['command'])}</pre><p>The same study once more, on any "
            f"machine and whatever the clock says:</p><pre>{escape(record['again'])}</pre>"
        )
    return (
        table("Methods, and where the gradients of their attacks come from",
              ["method", "what it does", "gradients", "attacks, s", "prior", "weights or file"], rows)
        + f"<p>{escape(effort)}</p><p>{escape(seen)}</p><h3>Plan</h3><pre>{escape(plan)}</pre>{command}"
        f'<p class="soft">{escape(taken)} {escape(versions)}, code {record["code"]}, device '
        f"{escape(record['device'])}. All numbers: report.json and per_image.csv beside this page.</p>"
    )  # fmt: skip


def number(value: float | None, digits: int) -> str:
    """A number to so many significant digits, or a dash.

    >>> number(0.01234, 2), number(None, 2)
    ('0.012', '&ndash;')
    """
    return DASH if value is None else f"{value:.{digits}g}"


def _flag(same: Sequence[Mapping[str, Any]]) -> str:
    """One item for flags of one text, with the methods that raised it."""
    level, text = escape(same[0]["level"]), escape(same[0]["text"])
    count = sum(flag["count"] for flag in same)
    times = f" ({count} times)" if count > len(same) else ""
    names = escape(", ".join(flag["method"] for flag in same))
    return f'<li class="{level}"><b>{level}</b>{names}: {text}{times}</li>'


def _cell(text: str) -> str:
    return (
        f'<td class="wrap">{text.removeprefix(WORDS)}</td>' if text.startswith(WORDS) else f"<td>{text}</td>"
    )


def _stat(entry: Mapping[str, Any] | None) -> str:
    if entry is None:
        return DASH
    text = f"{100 * entry['mean']:.1f}"
    if entry["n"] > 1:
        text += f' <span class="soft">[{100 * entry["low"]:.1f}, {100 * entry["high"]:.1f}]</span>'
    return text


def _difference(entry: Mapping[str, Any] | None) -> str:
    if entry is None:
        return DASH
    text = f"{100 * entry['mean']:+.1f}"
    if entry["n"] > 1:
        text += f' <span class="soft">[{100 * entry["low"]:+.1f}, {100 * entry["high"]:+.1f}]</span>'
    return text


def _ratio(entry: Mapping[str, Any] | None) -> str:
    if entry is None:
        return DASH
    return f"{entry['mean']:.2f}" + (f" (n = {entry['n']})" if entry["n"] > 1 else "")


def _interval(entry: Mapping[str, Any] | None) -> str:
    if entry is None or entry["value"] is None:
        return DASH
    text = f"{entry['value']:.3g}"
    if entry["low"] is not None:
        text += f'<span class="soft under">[{entry["low"]:.3g}, {entry["high"]:.3g}]</span>'
    return text
