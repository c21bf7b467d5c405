"""From an event of the plan to the pixels that the ATM's camera delivers.  Pure, given the people."""

from __future__ import annotations

from collections.abc import Callable
from zoneinfo import ZoneInfo

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from deploy.simulator.disturb import Disturbance, Pixels, blur, expose, light_person, light_scene, quality
from deploy.simulator.lobby import HEIGHT, WIDTH, draw_lobby
from deploy.simulator.options import chance
from deploy.simulator.sitter import EYES, UNIT, Sitter
from deploy.simulator.truth import GroundTruth, TrueEvent
from embedder.detect import Image
from ingest.reasons import Reason

Seat = Callable[[TrueEvent, str], Sitter]
"""Gives the cut-out of the named person for an event: the user with mask, or a bystander."""

BYSTANDER_EYES = (13.0, 17.0)
EYE_DISTANCES = {Disturbance.FAR: (29.0, 33.0), Disturbance.NEAR: (52.0, 62.0)}
USUAL_EYES = (36.0, 48.0)
"""Pixels between the eyes in the picture."""


class Camera:
    """Takes the pictures of one day.  Each is the same whenever and in whichever order it is taken."""

    def __init__(self, truth: GroundTruth, seat: Seat) -> None:
        self._seed = truth.seed
        self._zone = ZoneInfo(truth.zone)
        self._seat = seat

    def take(self, event: TrueEvent) -> bytes:
        """The JPEG file of ``event``; for a broken one, the bytes that take its place."""
        if event.reason is Reason.EMPTY_FILE:
            return b""
        if event.reason is Reason.NOT_AN_IMAGE:
            return b"transfer failed: 552 requested file action aborted, storage allocation exceeded\r\n"
        rng = chance(self._seed, "picture", event.event_id)
        image = self.expose(event, rng)
        _, encoded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality(event.disturbances, rng)])
        content = encoded.tobytes()
        return content[: len(content) * 2 // 5] if event.reason is Reason.TRUNCATED_IMAGE else content

    def expose(self, event: TrueEvent, rng: Generator) -> Image:
        """(HEIGHT, WIDTH, 3) uint8 BGR: the scene of ``event``."""
        names = event.disturbances
        local = event.captured_at.astimezone(self._zone)
        if event.reason is Reason.CAMERA_OBSCURED:
            picture = _covered(rng)
        else:
            night = not 7 <= local.hour < 19
            picture = draw_lobby(event.atm_id, night=night, glare=Disturbance.BACKLIGHT in names).copy()
            if event.bystander:
                picture = _place(
                    picture, self._seat(event, event.bystander), _behind(rng), lambda pixels: pixels * 0.8, 1.1
                )
            if event.person:
                picture = self._with_person(picture, event, rng)
            picture = light_scene(picture, names, chance(self._seed, "light", event.session_id or event.event_id))
            picture = blur(picture, names, rng)
        image = expose(picture, names, rng)
        text = f"{event.atm_id}  {local:%Y-%m-%d %H:%M:%S}  CAM 1"
        for colour, thickness in (((20, 20, 20), 3), ((190, 190, 190), 1)):
            cv2.putText(image, text, (12, HEIGHT - 12), cv2.FONT_HERSHEY_SIMPLEX, 0.42, colour, thickness, cv2.LINE_AA)
        return image

    def _with_person(self, picture: Pixels, event: TrueEvent, rng: Generator) -> Pixels:
        sitter = self._seat(event, event.person or "")
        light = chance(self._seed, "person", event.session_id or event.event_id)
        view = _stance(event.disturbances, rng)
        return _place(picture, sitter, view, lambda pixels: light_person(pixels, event.disturbances, light))


def _stance(names: tuple[str, ...], rng: Generator) -> NDArray[np.float64]:
    """(3, 3) that takes a cut-out to the picture: where the person stands, and how the head is held."""
    low, high = next((span for name, span in EYE_DISTANCES.items() if name in names), USUAL_EYES)
    scale = rng.uniform(low, high) / UNIT
    roll = np.radians(rng.uniform(5, 9) * rng.choice([-1, 1]) if Disturbance.TILTED in names else rng.normal(0, 1.2))
    turn = rng.uniform(0.06, 0.11) * rng.choice([-1, 1]) if Disturbance.TURNED in names else 0.0
    eyes = np.array([WIDTH / 2 + rng.normal(0, 32), rng.uniform(165, 215)])
    return _view(scale, float(roll), float(turn), eyes)


def _behind(rng: Generator) -> NDArray[np.float64]:
    side = rng.choice([-1, 1])
    eyes = np.array([WIDTH / 2 + side * rng.uniform(190, 245), rng.uniform(140, 175)])
    return _view(rng.uniform(*BYSTANDER_EYES) / UNIT, float(rng.normal(0, 0.04)), 0.0, eyes)


def _view(scale: float, roll: float, turn: float, eyes: NDArray[np.float64]) -> NDArray[np.float64]:
    """A plane that is scaled, rolled by ``roll`` radians, and turned about its upright axis by perspective."""
    cosine, sine = np.cos(roll), np.sin(roll)
    centred = np.array([[1, 0, -EYES[0]], [0, 1, -EYES[1]], [0, 0, 1]])
    turned = np.array([[1 - abs(turn) * 0.6, 0, 0], [0, 1, 0], [turn / (4 * UNIT), 0, 1]])
    placed = np.array([[scale * cosine, -scale * sine, eyes[0]], [scale * sine, scale * cosine, eyes[1]], [0, 0, 1]])
    return np.asarray(placed @ turned @ centred)


def _place(
    picture: Pixels, sitter: Sitter, view: NDArray[np.float64], light: Callable[[Pixels], Pixels], soften: float = 0.0
) -> Pixels:
    """``sitter``, as ``light`` lights it, put in front of ``picture``, which is changed."""
    layers = sitter.layers
    reduced = float(np.hypot(view[0, 0], view[1, 0]))
    if reduced < 0.8:  # reduce first, so that fine detail does not turn into noise
        size = max(1, round(layers.shape[1] * reduced)), max(1, round(layers.shape[0] * reduced))
        factors = layers.shape[1] / size[0], layers.shape[0] / size[1]
        layers = np.asarray(cv2.resize(layers, size, interpolation=cv2.INTER_AREA), np.uint8)
        middle = np.array([[factors[0], 0, factors[0] / 2 - 0.5], [0, factors[1], factors[1] / 2 - 0.5], [0, 0, 1]])
        view = view @ middle
    lit = light(layers[..., :3].astype(np.float32))
    alpha = layers[..., 3].astype(np.float32) / 255
    alpha[:, :1] = alpha[:, -1:] = alpha[:1] = 0  # only the feet go on beyond the cut-out
    warped = cv2.warpPerspective(
        cv2.merge([lit, alpha]), view, (WIDTH, HEIGHT), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    if soften:
        warped = cv2.GaussianBlur(warped, (0, 0), soften)
    columns, rows = (np.flatnonzero(warped[..., 3].any(axis=axis)) for axis in (0, 1))
    if columns.size:
        part = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
        picture[part] += warped[part][..., 3:] * (warped[part][..., :3] - picture[part])
    return picture


def _covered(rng: Generator) -> Pixels:
    """Something lies on the lens: next to no light, and none of it sharp."""
    coarse = rng.normal(14, 1.2, (3, 4, 3)).astype(np.float32)
    return np.asarray(cv2.resize(coarse, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC), np.float32)
