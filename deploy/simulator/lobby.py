"""What an ATM's camera sees when nobody is there: a room of its own for each machine, by day and by night."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
from numpy.random import Generator

from deploy.simulator.disturb import Pixels
from deploy.simulator.options import chance

WIDTH, HEIGHT = 640, 480
WALLS = ((168, 186, 196), (190, 184, 170), (150, 170, 160), (176, 176, 190), (140, 160, 182), (196, 200, 200))
FLOORS = ((96, 104, 112), (110, 120, 140), (84, 88, 92), (120, 124, 120))
Colour = tuple[float, float, float]


@lru_cache(maxsize=64)
def draw_lobby(atm_id: str, *, night: bool, glare: bool) -> Pixels:
    """(HEIGHT, WIDTH, 3): the lobby of ``atm_id``, out of focus; do not write to it.

    ``night`` darkens the windows, ``glare`` puts a blinding one behind whoever stands at the machine.
    """
    rng = chance(0, "lobby", atm_id)
    wall: Colour = WALLS[rng.integers(len(WALLS))]
    floor: Colour = FLOORS[rng.integers(len(FLOORS))]
    picture = np.zeros((HEIGHT, WIDTH, 3), np.float32)
    horizon, back = int(rng.integers(300, 340)), (int(rng.integers(70, 130)), int(rng.integers(500, 570)))
    _surfaces(picture, wall, floor, horizon, back)
    _tiles(picture, floor, horizon, rng)
    _window(picture, horizon, back, rng, night=night)
    _furnish(picture, horizon, back, rng)
    for x in np.linspace(back[0] + 40, back[1] - 40, int(rng.integers(2, 4))):
        lamp = np.array([[x - 34, 26], [x + 34, 26], [x + 46, 8], [x - 46, 8]])
        _fill(picture, lamp, (250, 250, 245) if night else (228, 230, 228))
    picture = np.asarray(cv2.GaussianBlur(picture, (0, 0), 2.2), np.float32)
    grain = cv2.resize(rng.normal(0, 2.5, (24, 32)).astype(np.float32), (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    picture += np.asarray(grain)[..., None]
    if night:
        picture *= 0.82
    if glare:
        y, x = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float32)
        bloom = np.exp(-(((x - 320) / 250) ** 2 + ((y - 150) / 190) ** 2))
        picture += 150 * np.asarray(bloom, np.float32)[..., None]
    picture = np.clip(picture, 0, 255)
    picture.flags.writeable = False
    return picture


def _fill(picture: Pixels, corners: object, colour: Colour) -> None:
    points = np.rint(np.asarray(corners, np.float64)).astype(np.int32)
    cv2.fillPoly(picture, [points], colour, cv2.LINE_AA)


def _shade(colour: Colour, by: float) -> Colour:
    b, g, r = (min(255.0, value * by) for value in colour)
    return b, g, r


def _surfaces(picture: Pixels, wall: Colour, floor: Colour, horizon: int, back: tuple[int, int]) -> None:
    left, right = back
    top = 34
    _fill(picture, [(0, 0), (WIDTH, 0), (right, top), (left, top)], _shade(wall, 1.12))
    _fill(picture, [(0, 0), (left, top), (left, horizon), (0, HEIGHT)], _shade(wall, 0.78))
    _fill(picture, [(WIDTH, 0), (right, top), (right, horizon), (WIDTH, HEIGHT)], _shade(wall, 0.7))
    _fill(picture, [(left, top), (right, top), (right, horizon), (left, horizon)], wall)
    _fill(picture, [(0, HEIGHT), (left, horizon), (right, horizon), (WIDTH, HEIGHT)], floor)
    _fill(picture, [(left, horizon - 9), (right, horizon - 9), (right, horizon), (left, horizon)], _shade(wall, 0.55))


def _tiles(picture: Pixels, floor: Colour, horizon: int, rng: Generator) -> None:
    vanishing, joint = (320.0, horizon - 190.0), _shade(floor, 0.78)
    shift = rng.uniform(0, 80)
    for x in np.arange(-700, 1400, 110) + shift:
        share = (HEIGHT - horizon) / (HEIGHT - vanishing[1])
        start = round(float(x + (vanishing[0] - x) * share)), horizon
        cv2.line(picture, start, (round(float(x)), HEIGHT), joint, 2, cv2.LINE_AA)
    for i in range(1, 6):
        y = round(horizon + (HEIGHT - horizon) * (i / 5.5) ** 1.8)
        cv2.line(picture, (0, y), (WIDTH, y), joint, 2, cv2.LINE_AA)


def _window(picture: Pixels, horizon: int, back: tuple[int, int], rng: Generator, *, night: bool) -> None:
    """A glass front with a door, and the street behind it."""
    width = int(rng.integers(150, 240))
    left = int(rng.integers(back[0] + 10, back[1] - width - 10))
    top = int(rng.integers(60, 90))
    sky, street = ((58, 44, 36), (40, 36, 36)) if night else ((236, 226, 210), (176, 182, 186))
    _fill(picture, [(left, top), (left + width, top), (left + width, horizon), (left, horizon)], sky)
    middle = top + (horizon - top) * 6 // 10
    _fill(picture, [(left, middle), (left + width, middle), (left + width, horizon), (left, horizon)], street)
    for _ in range(7):  # house fronts by day, lit windows and cars by night
        x, w = int(rng.integers(left, left + width - 20)), int(rng.integers(8, 20))
        y, h = int(rng.integers(top + 12, middle + 20)), int(rng.integers(10, 34))
        tone = float(rng.uniform(110, 230))
        colour = (tone * 0.55, tone * 0.85, tone) if night else (tone * 0.95, tone, tone)
        _fill(picture, [(x, y), (x + w, y), (x + w, y + h), (x, y + h)], colour)
    frame = (60.0, 62.0, 66.0)
    for x in (left, left + width // 2, left + width):
        cv2.line(picture, (x, top), (x, horizon), frame, 5, cv2.LINE_AA)
    cv2.line(picture, (left, top), (left + width, top), frame, 6, cv2.LINE_AA)
    cv2.line(picture, (left + width // 2 + 12, middle - 26), (left + width // 2 + 12, middle + 26), (170, 170, 170), 3)


def _furnish(picture: Pixels, horizon: int, back: tuple[int, int], rng: Generator) -> None:
    """Posters on the walls, a plant or a bin beside the door."""
    for side in rng.permutation(2)[: int(rng.integers(1, 3))]:
        x0, x1 = (8, back[0] - 14) if side == 0 else (back[1] + 14, WIDTH - 8)
        far, near = (x1, x0) if side == 0 else (x0, x1)
        colour = tuple(float(v) for v in rng.uniform(60, 230, 3))
        _fill(picture, [(near, 70), (far, 100), (far, 235), (near, 265)], (colour[0], colour[1], colour[2]))
        light = _shade((colour[0], colour[1], colour[2]), 1.35)
        _fill(picture, [(near, 120), (far, 138), (far, 170), (near, 168)], light)
    if rng.random() < 0.6:
        x = int(rng.integers(back[0] + 20, back[1] - 20))
        _fill(
            picture,
            [(x - 16, horizon + 30), (x + 16, horizon + 30), (x + 12, horizon + 66), (x - 12, horizon + 66)],
            (70, 80, 96),
        )
        for _ in range(14):
            tip = x + rng.normal(0, 26), horizon + 30 - rng.uniform(20, 78)
            green = float(rng.uniform(70, 130))
            cv2.line(picture, (x, horizon + 30), (round(tip[0]), round(tip[1])), (green * 0.5, green, green * 0.6), 5)
