"""Turns coordinates and words into the few SVG elements that charts are made of; all text is escaped.

Colours and fonts are left to the style sheet of the page: every element only says what it is (``kind``).
"""

from __future__ import annotations

import zlib

from markupsafe import Markup


def drawing(title: str, said: str, width: float, height: float, body: Markup, kind: str) -> Markup:
    """Return a whole SVG of that size in pixels.

    Args:
        title: Its accessible name; must be unique on the page.
        said: Its content in words, for who cannot see it.
        width: Of the drawing.
        height: Of the drawing.
        body: The elements.
        kind: CSS class.
    """
    name = f"svg-{zlib.crc32(title.encode()):08x}"
    return Markup(
        '<svg class="{kind}" viewBox="0 0 {w:.0f} {h:.0f}" width="{w:.0f}" height="{h:.0f}" role="img"'
        ' aria-labelledby="{name} {name}-said"><title id="{name}">{title}</title>'
        '<desc id="{name}-said">{said}</desc>{body}</svg>'
    ).format(kind=kind, w=width, h=height, name=name, title=title, said=said, body=body)


def line(kind: str, x1: float, y1: float, x2: float, y2: float) -> Markup:
    """Return a straight line."""
    ends = (short(x1), short(y1), short(x2), short(y2))
    return Markup('<line class="{}" x1="{}" y1="{}" x2="{}" y2="{}"/>').format(kind, *ends)


def circle(kind: str, x: float, y: float, radius: float, tip: str) -> Markup:
    """Return a circle that shows ``tip`` when pointed at."""
    pattern = Markup('<circle class="{}" cx="{}" cy="{}" r="{}"><title>{}</title></circle>')
    return pattern.format(kind, short(x), short(y), radius, tip)


def square(kind: str, x: float, y: float, side: float, opacity: float, tip: str) -> Markup:
    """Return a filled square that shows ``tip`` when pointed at."""
    pattern = Markup(
        '<rect class="{}" x="{}" y="{}" width="{}" height="{}" fill-opacity="{:.2f}"><title>{}</title></rect>'
    )
    return pattern.format(kind, short(x), short(y), side, side, opacity, tip)


def box(kind: str, x: float, y: float, width: float, height: float, tip: str) -> Markup:
    """Return a filled rectangle that shows ``tip`` when pointed at."""
    pattern = Markup('<rect class="{}" x="{}" y="{}" width="{}" height="{}"><title>{}</title></rect>')
    return pattern.format(kind, short(x), short(y), short(width), short(height), tip)


def text(
    kind: str,
    words: str,
    x: float,
    y: float,
    anchor: str = "start",
    *,
    upwards: bool = False,
    size: float | None = None,
    tip: str = "",
) -> Markup:
    """Return words at a place.

    Args:
        kind: CSS class.
        words: What is written.
        x: Of the anchor.
        y: Of the base line.
        anchor: Which end of the words stands at ``x``: start, middle or end.
        upwards: Turned by 90 degrees around the anchor, read from below.
        size: Of the font in pixels; None leaves it to the style sheet.
        tip: What pointing at the words shows, where it differs from them.
    """
    turned = Markup(' transform="rotate(-90 {} {})"').format(short(x), short(y)) if upwards else ""
    sized = Markup(' style="font-size:{:g}px"').format(size) if size is not None else ""
    hint = Markup("<title>{}</title>").format(tip) if tip and tip != words else ""
    return Markup('<text class="{}" x="{}" y="{}" text-anchor="{}"{}{}>{}{}</text>').format(
        kind, short(x), short(y), anchor, turned, sized, hint, words
    )


def short(value: float) -> str:
    """Return a coordinate with at most one decimal."""
    return f"{value:.1f}".removesuffix(".0")
