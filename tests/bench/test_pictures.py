"""Bar charts: well formed, to scale, for light and dark pages."""

from __future__ import annotations

from itertools import pairwise
from xml.etree import ElementTree

from bench.pictures import LABELS, WIDTH, Bar, chart

SVG = "{http://www.w3.org/2000/svg}"


def _chart(*values: float) -> ElementTree.Element:
    bars = [Bar(f"relay {value}", value, value * 0.9, value * 1.1, f"{value} µs", own=not place)
            for place, value in enumerate(values)]  # fmt: skip
    return ElementTree.fromstring(chart("A & B", "CPU <per> message", bars))


def _lengths(picture: ElementTree.Element) -> list[float]:
    return [float(bar.attrib["width"]) for bar in picture.iter(f"{SVG}rect")]


def test_lengths_are_to_scale() -> None:
    half, whole = _lengths(_chart(20, 40))
    assert abs(whole / half - 2) < 0.01


def test_far_apart_they_are_logarithmic_and_it_says_so() -> None:
    picture = _chart(20, 200, 2000)
    steps = [longer - shorter for shorter, longer in pairwise(_lengths(picture))]
    assert abs(steps[0] - steps[1]) < 0.2
    assert "lengths are logarithmic" in "".join(picture.itertext())
    assert "logarithmic" not in "".join(_chart(20, 40).itertext())


def test_everything_is_inside_the_picture() -> None:
    for picture in (_chart(20, 40), _chart(1, 5000), _chart(3)):
        _, _, width, height = map(float, picture.attrib["viewBox"].split())
        assert width == WIDTH
        for bar in picture.iter(f"{SVG}rect"):
            assert 0 < float(bar.attrib["width"]) <= WIDTH - LABELS
            assert float(bar.attrib["y"]) + float(bar.attrib["height"]) < height
        for line in picture.iter(f"{SVG}line"):
            assert LABELS <= float(line.attrib["x1"]) < float(line.attrib["x2"]) < WIDTH


def test_names_and_numbers_are_written_and_ours_stands_out() -> None:
    picture = _chart(20, 40)
    assert {"A & B", "CPU <per> message", "relay 20", "20 µs"} <= set(picture.itertext())
    assert [bar.attrib["class"] for bar in picture.iter(f"{SVG}rect")] == ["own", "bar"]


def test_dark_pages_have_colours_of_their_own() -> None:
    style = _chart(20).findtext(f"{SVG}style") or ""
    assert "prefers-color-scheme: dark" in style


def test_without_bars_and_with_a_zero() -> None:
    assert _lengths(ElementTree.fromstring(chart("", "", []))) == []
    assert _lengths(ElementTree.fromstring(chart("", "", [Bar("", 0, 0, 0, "0")]))) == [0.0]
