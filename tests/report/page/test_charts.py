"""Where things are drawn."""

import re
from pathlib import Path

import pytest

from launcher.report.page import scales
from launcher.report.page.chart import Chart, Curve, Ground, apart, drawn, fitted, merged, outside
from launcher.report.page.marks import SHOWN, marker
from launcher.report.page.scales import Scale, bounds, short, ticks, whole_ticks
from launcher.report.page.series import Point
from launcher.report.page.timeline import moment, time_ticks

CSS = (Path(scales.__file__).parent / "page.css").read_text()


@pytest.mark.parametrize(("low", "high", "about", "found"), [
    (0.0, 10.0, 5, [0, 2, 4, 6, 8, 10]), (0.93, 1.31, 4, [1.0, 1.1, 1.2, 1.3]), (0.0, 1e-5, 2, [0, 5e-6, 1e-5]),
    (3.0, 3.0, 4, [3.0])])
def test_ticks_are_round(low: float, high: float, about: int, found: list[float]) -> None:
    assert ticks(low, high, about) == pytest.approx(found)


def test_numbers_on_axes_are_short() -> None:
    assert [short(value) for value in (0, 11_400, 2.5e6, 0.25, 5e-6, 1e-5)] == ["0", "11.4k", "2.5M", "0.25", "5e-6",
                                                                                "1e-5"]
    assert whole_ticks(0, 3, 8) == [0, 1, 2, 3]
    assert [moment(value) for value in (0, 45, 120, 7200, 86400)] == ["0 s", "45 s", "2 min", "2 h", "1 d"]
    assert time_ticks(0.0, 5) == [0] and len(time_ticks(1e6, 7)) <= 8


def test_one_far_value_does_not_flatten_the_others_and_is_told() -> None:
    means = [1.0 + 0.01 * number for number in range(200)]
    low, high = bounds(means, means, [*means[:-1], 1000.0])
    assert low < 1.0 and 2.9 < high < 10.0
    assert bounds([8.0, 3.0, 2.0], [8.0, 3.0, 2.0], [8.0, 3.0, 2.0])[1] > 8.0
    line = [Point(number, mean, mean, 1000.0 if number == 9 else mean) for number, mean in enumerate(means)]
    assert outside(Chart("k", "t", "", "u", [Curve("a", 0, [line])])) == (1, 1000.0)
    assert Scale(0, 10, 100, 0)(1000) == 0


def test_labels_do_not_lie_on_each_other() -> None:
    assert apart([10, 11, 12, 90], 14, 0, 100) == [10, 24, 38, 90]
    assert apart([95, 96, 97], 14, 0, 100) == [72, 86, 100]
    assert apart([], 14, 0, 100) == []
    assert fitted("medicine", 5) == "medi…" and fitted("medicine", 2) == ""


def test_spans_that_touch_are_one() -> None:
    assert merged([(5, 9), (1, 2), (3, 4), (20, 30), (25, 26)]) == [(1, 9), (20, 30)]


def test_a_chart_names_itself_and_draws_what_there_is() -> None:
    ground = Ground([("one", 1, 2), ("two & more", 3, 4)], [(2, "crash <b>")], [(2, 2)], 4)
    parts = [[Point(1, 2.0, 2.0, 2.0), Point(2, 1.0, 1.0, 1.0)], [Point(4, 0.5, 0.5, 0.5)]]
    chart = Chart("loss", "Loss", "from 2 to 0.5", "loss", [Curve("a<b", 0, parts), Curve("c", 1, [])])
    text = str(drawn(chart, ground))
    assert text.count("<svg") == 2 and text.count("<title id=") == 2 and "two &amp; more" in text
    assert "crash &lt;b&gt;" in text and "a&lt;b" in text and 'class="redone"' in text and "NaN" not in text.upper()
    assert text.count('class="l c0"') == 4


def test_a_restart_and_a_change_after_the_same_step_are_both_seen() -> None:
    ground = Ground([("one", 1, 4)], [(2, "crash")], [], 4, [(2, "a verdict"), (3, "another engine")])
    curve = Curve("a", 0, [[Point(step, 1.0, 1.0, 1.0) for step in range(1, 5)]])
    text = str(drawn(Chart("loss", "Loss", "", "loss", [curve]), ground))
    places = {kind: [int(place) for place in re.findall(rf'class="{kind}" d="M(\d+) ', text)]
              for kind in ("restart", "change")}
    assert len(places["restart"]) == 2 and len(places["change"]) == 4, "for each of two screens"
    assert all(abs(one - other) >= 7 for one in places["restart"] for other in places["change"])


def test_every_curve_has_a_colour_a_dash_and_a_shape_of_its_own() -> None:
    assert len({re.sub(r"c\d", "", str(marker(index, 0, 0))) for index in range(SHOWN)}) == SHOWN
    dashes = re.findall(r"\.l\.c(\d)\{stroke-dasharray:([^;}]*)", CSS)
    assert len({dash for _, dash in dashes}) == SHOWN - 1 == len(dashes)


def themes() -> dict[str, dict[str, str]]:
    light, dark, paper = re.findall(r":root\{(--paper[^}]*)\}", CSS)
    return {name: dict(re.findall(r"--(\w+):(#[0-9a-f]{3,6})\b", block))
            for name, block in (("light", light), ("dark", dark), ("print", paper))}


def linear(colour: str) -> list[float]:
    digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
    parts = [int(digits[place:place + 2], 16) / 255 for place in (0, 2, 4)]
    return [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]


def contrast(one: str, other: str) -> float:
    """Return the contrast of two colours as WCAG 2.2 defines it."""
    factors = (0.2126, 0.7152, 0.0722)
    light, dark = sorted((sum(factor * part for factor, part in zip(factors, linear(colour), strict=True))
                          for colour in (one, other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("theme", ["light", "dark", "print"])
def test_text_and_lines_stand_out_from_their_ground(theme: str) -> None:
    colours = themes()[theme]
    for text in ("ink", "soft", "link", "good", "bad", "asked"):
        for ground in ("paper", "card"):
            assert contrast(colours[text], colours[ground]) >= 4.5, (text, ground)
    for ground in ("b1", "b2", "b3", "b4", "w1", "w2", "w3", "w4"):
        assert contrast(colours["ink"], colours[ground]) >= 4.5, ground
    for index in range(SHOWN):
        assert contrast(colours[f"c{index}"], colours["paper"]) >= 3.0, index


# Machado, Oliveira and Fernandes 2009, severity 1: what those see who lack one kind of cones.
BLIND = {"protanopia": ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216),
                        (-0.003882, -0.048116, 1.051998)),
         "deuteranopia": ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413),
                          (-0.011820, 0.042940, 0.968881)),
         "tritanopia": ((1.255528, -0.076749, -0.178779), (-0.078411, 0.930809, 0.147602),
                        (0.004733, 0.691367, 0.303900))}


def lab(parts: list[float]) -> list[float]:
    """Return a linear colour as CIELAB has it."""
    x, y, z = (sum(factor * part for factor, part in zip(row, parts, strict=True)) for row in (
        (0.4124 / 0.9505, 0.3576 / 0.9505, 0.1805 / 0.9505), (0.2126, 0.7152, 0.0722),
        (0.0193 / 1.089, 0.1192 / 1.089, 0.9505 / 1.089)))
    f = [part ** (1 / 3) if part > 0.008856 else 7.787 * part + 16 / 116 for part in (x, y, z)]
    return [116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])]


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("kind", list(BLIND))
def test_the_first_colours_differ_for_the_colour_blind_and_the_heat_map_s_do(theme: str, kind: str) -> None:
    colours = themes()[theme]

    def seen(name: str) -> list[float]:
        parts = linear(colours[name])
        return lab([min(1.0, max(0.0, sum(factor * part for factor, part in zip(row, parts, strict=True))))
                    for row in BLIND[kind]])

    def apart_by(one: str, other: str) -> float:
        return sum((a - b) ** 2 for a, b in zip(seen(one), seen(other), strict=True)) ** 0.5

    for one, other in (("c0", "c1"), ("c0", "c2"), ("c1", "c2"), ("b2", "w2"), ("b3", "w3"), ("b4", "w4")):
        assert apart_by(one, other) >= 9.0, (one, other, apart_by(one, other))
