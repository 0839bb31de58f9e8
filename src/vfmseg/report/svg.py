"""Turns coordinates and words into the few SVG elements that charts are made of; all text is escaped."""

from __future__ import annotations

import re

from markupsafe import Markup


def line(kind: str, x1: float, y1: float, x2: float, y2: float) -> Markup:
    coordinates = (trim(x1), trim(y1), trim(x2), trim(y2))
    return Markup('<line class="{}" x1="{}" y1="{}" x2="{}" y2="{}"/>').format(kind, *coordinates)


def circle(x: float, y: float, radius: float, kind: str, tip: str) -> Markup:
    pattern = Markup('<circle class="{}" cx="{}" cy="{}" r="{}"><title>{}</title></circle>')
    return pattern.format(kind, trim(x), trim(y), radius, tip)


def text(
    text: str,
    x: float,
    y: float,
    kind: str,
    anchor: str = "start",
    *,
    rotate: int = 0,
    style: str = "",
    tip: str = "",
) -> Markup:
    turn = Markup(' transform="rotate({} {} {})"').format(rotate, trim(x), trim(y)) if rotate else ""
    styled = Markup(' style="{}"').format(style) if style else ""
    hint = Markup("<title>{}</title>").format(tip) if tip and tip != text else ""
    return Markup('<text class="{}" x="{}" y="{}" text-anchor="{}"{}{}>{}{}</text>').format(
        kind, trim(x), trim(y), anchor, turn, styled, hint, text
    )


def drawing(title: str, said: str, width: float, height: float, body: Markup, kind: str) -> Markup:
    name = re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")
    return Markup(
        '<svg class="{kind}" viewBox="0 0 {w:.0f} {h:.0f}" width="{w:.0f}" height="{h:.0f}" role="img"'
        ' aria-labelledby="{name}-title {name}-said"><title id="{name}-title">{title}</title>'
        '<desc id="{name}-said">{said}</desc>{body}</svg>'
    ).format(kind=kind, w=width, h=height, name=name, title=title, said=escape(said), body=body)


def trim(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
