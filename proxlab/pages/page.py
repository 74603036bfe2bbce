"""report.html: everything in one file, nothing loaded from anywhere."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from proxlab.pages import tables
from proxlab.pages.charts import Frame, Line, lines_chart, span_of, tradeoff_chart
from proxlab.pages.style import CSS, JS

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SECTIONS = (
    ("curves", "Error against budget"),
    ("ratio", "Worst against random noise"),
    ("stability", "Accuracy and stability"),
    ("tradeoff", "What the details cost"),
    ("departures", "Other data than believed"),
    ("gallery", "Pictures"),
    ("how", "How this was made"),
)


def page_of(record: Mapping[str, Any], gallery: Sequence[Mapping[str, Any]]) -> str:
    """The page of a record, with the pictures of gallery_of."""
    body = {
        "curves": _curves(record),
        "ratio": tables.ratio_table(record),
        "stability": tables.stability_table(record),
        "tradeoff": _tradeoff(record) + tables.detail_table(record),
        "departures": tables.shift_table(record),
        "gallery": _gallery(record, gallery),
        "how": tables.how(record),
    }
    links = " ".join(f'<a href="#{key}">{title}</a>' for key, title in SECTIONS)
    parts = [
        f'<section aria-labelledby="{key}"><h2 id="{key}">{escape(title)}</h2>{body[key]}</section>'
        for key, title in SECTIONS
    ]
    count = len(record["pictures"])
    subtitle = (
        f"{len(record['methods'])} methods, {count} picture{'' if count == 1 else 's'}, psf {record['psf']}, "
        f"protocol {record['protocol']['name']}, seed {record['seed']}"
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>Robustness report</title><style>{CSS}</style></head><body><main>"
        f'<header><h1>Robustness report</h1><p class="soft">{escape(subtitle)}</p>'
        f'<p class="verdict">{escape(record["verdict"])}</p>{tables.flag_list(record)}'
        f'<nav aria-label="Sections">{links}</nav></header>'
        f"{''.join(parts)}</main><script>{JS}</script></body></html>\n"
    )


def _curves(record: Mapping[str, Any]) -> str:
    """Two charts of one scale, a logarithm: the worst can be a hundred times what random noise does."""
    kinds = {"random": "white noise of that norm", "worst": "the worst perturbation found"}
    every = [
        100 * e[kind][end]
        for c in record["curves"].values()
        for e in c
        for kind in kinds
        for end in ("low", "high")
        if e[kind] is not None and e[kind][end] > 0
    ] or [1.0]
    levels = [100 * level for level in record["protocol"]["levels"]]
    figures = []
    for kind, text in kinds.items():
        lines = [
            Line(
                name,
                style,
                [
                    (100 * e["level"], *(100 * e[kind][part] for part in ("mean", "low", "high")))
                    for e in curve
                    if e[kind] is not None
                ],
            )
            for style, (name, curve) in enumerate(record["curves"].items())
        ]
        lines = [line for line in lines if line.points]
        alt = f"Relative error against the noise budget, {text}; the numbers are in the table below."
        low, high = min(levels), max(levels)
        frame = Frame(
            (low, high) if high > low else (0, 1.1 * high),
            (min(every) / 1.2, max(every) * 1.2),
            ("budget |e| / |Kx|, per cent", "error |x' - x| / |x|, per cent"),
            alt,
            tuple(levels) if len(levels) < 6 else (),
            tuple(record["curves"]),
            log=True,
        )
        figures.append(
            f"<figure>{lines_chart(lines, frame)}<figcaption>{_sentence(text)}</figcaption></figure>"
        )
    lead = (
        "<p>Both charts have one scale, which is logarithmic. Bands are 95 % bootstrap intervals of the mean "
        "over pictures; every method is told the level of the budget.</p>"
    )
    return f'{lead}<div class="pair">{"".join(figures)}</div>{tables.curve_table(record)}'


def _tradeoff(record: Mapping[str, Any]) -> str:
    """One chart a kind of detail: the region no method can be in, and where the methods are."""
    details = {name: kinds for name, kinds in record["details"].items() if kinds}
    if not details:
        return "<p>Inserted details were left out of this study.</p>"
    figures = []
    for kind in next(iter(details.values())):
        points = {name: (d[kind]["eta"], d[kind]["constant"]) for name, d in details.items()}
        one = next(iter(details.values()))[kind]
        xs, ys = zip(*points.values(), strict=True)
        frame = Frame(
            (0, 1.1 * max(*xs, one["unstable_below"])),
            span_of([*ys, one["size"] / one["seen"], 1.0, 0.0], zero=False),
            ("clean error eta, norm of the picture", "stability constant C"),
            f"Clean error against stability constant for inserted {kind}, with the bound no method can beat.",
            names=tuple(points),
        )
        chart = tradeoff_chart((one["size"], one["seen"]), points, frame)
        text = (
            f"{_sentence(kind)}: |d| = {one['size']:.3g}, |Kd| = {one['seen']:.3g}. Every method with eta "
            f"below {one['unstable_below']:.3g} is unstable (C of at least 1)."
        )
        figures.append(f"<figure>{chart}<figcaption>{escape(text)}</figcaption></figure>")
    lead = (
        "<p>Whoever restores a detail d that the blur nearly removes must react strongly to the small change "
        "Kd in the data: C is at least (|d| - 2 eta) / |Kd|, the red line. The shaded side is empty for "
        "every method there is or will be. Points are measured with e = Kd.</p>"
    )
    return f'{lead}<div class="pair">{"".join(figures)}</div>'


def _gallery(record: Mapping[str, Any], gallery: Sequence[Mapping[str, Any]]) -> str:
    """Cards of before and after: the clean result over the attacked one, data, perturbation and error."""
    if not gallery:
        return "<p>No picture was attacked.</p>"
    lead = (
        "<p>Black is 0 and white is 1 in every picture, nothing is stretched. Left of the line the result "
        "from noise-free data, right of it the result from the worst data found at the middle budget: move "
        "the slider. Perturbations and errors are shown around grey with the gain stated.</p>"
    )
    parts = []
    for picture in dict.fromkeys(item["picture"] for item in gallery):
        items = [item for item in gallery if item["picture"] == picture]
        cards = "".join(_card(item) for item in items)
        pairs = "".join(f'<div class="pair">{part}</div>' for part in (_scene(items[0]), cards))
        parts.append(f"<h3>{escape(picture)}</h3>{pairs}")
    return lead + "".join(parts)


def _scene(item: Mapping[str, Any]) -> str:
    """The picture itself and what the sensor saw of it."""
    name = escape(item["picture"])
    shown = (("truth", "the picture that is to be found"), ("data", "its data without noise"))
    return "".join(
        f'<figure class="card plain"><img alt="{name}: {text}" src="{_png(item["arrays"][key])}">'
        f"<figcaption>{_sentence(text)}</figcaption></figure>"
        for key, text in shown
    )


def _card(item: Mapping[str, Any]) -> str:
    a, name = item["arrays"], escape(item["method"])
    error = a["attacked"] - a["truth"]
    whose = f", by the perturbation made for {escape(item['made_for'])}" if item["made_for"] else ""
    gains = [_gain(a["perturbation"]), _gain(error)]
    small = [
        ("data", a["data"] + a["perturbation"], "the attacked data"),
        ("perturbation", 0.5 + gains[0] * a["perturbation"], f"perturbation x {gains[0]:g}"),
        ("error", 0.5 + gains[1] * error, f"error x {gains[1]:g}"),
    ]
    thumbs = "".join(
        f'<figure><img alt="{name}: {text}" src="{_png(p)}"><figcaption>{text}</figcaption></figure>'
        for _, p, text in small
    )
    return (
        f'<figure class="card"><figcaption><b>{name}</b>{whose}</figcaption><div class="compare">'
        f'<img alt="{name}: result from the worst data found" src="{_png(a["attacked"])}">'
        f'<img class="over" alt="{name}: result from noise-free data" src="{_png(a["clean"])}"></div>'
        f'<input type="range" min="0" max="100" value="50" aria-label="{name}: clean or attacked result">'
        f'<div class="three plain">{thumbs}</div></figure>'
    )


def _gain(a: NDArray[Any]) -> float:
    """A round factor that makes the larger values of a visible around grey."""
    import numpy as np

    size = float(np.quantile(np.abs(a), 0.99))
    return next((g for g in (50, 20, 10, 5, 2, 1) if g * size <= 0.5), 1)


def _png(picture: NDArray[Any]) -> str:
    import numpy as np
    from PIL import Image

    stream = io.BytesIO()
    values: NDArray[np.uint8] = np.uint8(np.rint(255 * picture.clip(0, 1)))  # type: ignore[assignment]
    Image.fromarray(values).save(stream, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode()


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]
