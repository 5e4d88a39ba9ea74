"""Charts of a run as pictures: lines over batches, and bars. Drawn by Pillow, so that they need no further library."""

import colorsys
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

Picture = NDArray[np.uint8]
_TEXT_PX = 13
_ROW_PX = 18
_MARGIN_PX = 12
_PLOT_PX = (640, 320)  # width, height
_BAR_PX = 420
_TICKS = 4
_DARK, _LIGHT = (70, 110, 180), (200, 120, 60)
_GRID = (220, 220, 220)


def bar_chart(title: str, bars: Mapping[str, Mapping[str, float]]) -> Picture:
    """Draw horizontal bars from 0, several beside each other in a row, each with its number.

    Args:
        title: over the chart.
        bars: finite numbers >= 0 by row and then by name; all rows have the same one or two names.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    names = list(next(iter(bars.values())))
    colors = dict(zip(names, (_DARK, _LIGHT), strict=False))
    largest = max(max(row.values()) for row in bars.values()) or 1.0
    left = _MARGIN_PX + max(map(_width, bars)) + _MARGIN_PX
    height = _MARGIN_PX + 2 * _ROW_PX + len(bars) * (len(names) * _ROW_PX + _MARGIN_PX)
    sheet, draw = _sheet(left + _BAR_PX + 8 * _MARGIN_PX, height, title)
    x = left
    for name in names:
        draw.rectangle((x, _MARGIN_PX + _ROW_PX + 3, x + 10, _MARGIN_PX + _ROW_PX + 13), fill=colors[name])
        _write(draw, x + 16, _MARGIN_PX + _ROW_PX, name)
        x += 16 + _width(name) + 2 * _MARGIN_PX
    y = _MARGIN_PX + 2 * _ROW_PX + _MARGIN_PX // 2
    for label, row in bars.items():
        _write(draw, _MARGIN_PX, y + (len(row) - 1) * _ROW_PX // 2, label)
        for name, value in row.items():
            end = left + round(_BAR_PX * value / largest)
            draw.rectangle((left, y + 2, end, y + _ROW_PX - 3), fill=colors[name])
            _write(draw, end + 6, y, f"{value:.3g}")
            y += _ROW_PX
        y += _MARGIN_PX
    return np.asarray(sheet)


def line_chart(title: str, x_label: str, lines: Mapping[str, Sequence[tuple[float, float]]]) -> Picture:
    """Draw lines, from dark to light in their order, with a legend beside them.

    Args:
        title: over the chart.
        x_label: below it.
        lines: finite points (x, y) by name, at least one in all.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    points = np.array([point for line in lines.values() for point in line], dtype=np.float64)
    low, high = points.min(0), points.max(0)
    room = np.where(high > low, high - low, 1.0)
    width, height = _PLOT_PX
    left, top = _MARGIN_PX + 6 * _TEXT_PX, _MARGIN_PX + 2 * _ROW_PX
    legend = left + width + 2 * _MARGIN_PX
    below = max(top + height, top + len(lines) * _ROW_PX)
    sheet, draw = _sheet(legend + 26 + max(map(_width, lines)) + _MARGIN_PX, below + 3 * _ROW_PX, title)

    def place(point: Sequence[float]) -> tuple[float, float]:
        x, y = (np.asarray(point) - low) / room
        return left + float(x) * width, top + height - float(y) * height

    for tick in range(_TICKS + 1):
        x, y = low + room * tick / _TICKS
        across, up = place((x, y))
        draw.line((left, up, left + width, up), fill=_GRID)
        _write(draw, _MARGIN_PX, round(up) - _TEXT_PX // 2 - 2, f"{y:.3g}")
        _write(draw, round(across) - 10, top + height + 4, f"{x:g}")
    _write(draw, left + width // 2 - _width(x_label) // 2, top + height + 4 + _ROW_PX, x_label)
    for number, (name, line) in enumerate(lines.items()):
        color = _color(number, len(lines))
        placed = [place(point) for point in line]
        draw.line(placed, fill=color, width=2)
        for across, up in placed:
            draw.ellipse((across - 2, up - 2, across + 2, up + 2), fill=color)
        y = top + number * _ROW_PX
        draw.line((legend, y + _ROW_PX // 2, legend + 20, y + _ROW_PX // 2), fill=color, width=3)
        _write(draw, legend + 26, y, name)
    return np.asarray(sheet)


def _sheet(width: int, height: int, title: str) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    sheet = Image.new("RGB", (max(width, _width(title) + 2 * _MARGIN_PX), height), "white")
    draw = ImageDraw.Draw(sheet)
    _write(draw, _MARGIN_PX, _MARGIN_PX, title)
    return sheet, draw


def _write(draw: ImageDraw.ImageDraw, x: int, y: int, text: str) -> None:
    draw.text((x, y), text, fill="black", font=ImageFont.load_default(_TEXT_PX))


def _width(text: str) -> int:
    return round(ImageFont.load_default(_TEXT_PX).getlength(text))


def _color(number: int, count: int) -> tuple[int, int, int]:
    share = number / max(1, count - 1)
    red, green, blue = colorsys.hsv_to_rgb(0.75 - 0.6 * share, 0.8, 0.45 + 0.45 * share)
    return round(255 * red), round(255 * green), round(255 * blue)
