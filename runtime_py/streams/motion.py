"""Where tracked boxes will be: a Kalman filter of constant velocity for each of centre, height and aspect."""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
STEP_S = 1 / 30
"""The step of time that the noise below was chosen for, by SORT's successors, on video of about this rate."""
PLACE_NOISE, SPEED_NOISE = 1 / 20, 1 / 160
"""Standard deviations per step, as shares of the box's height (Wojke et al. 2017, the filter that ByteTrack takes)."""
ASPECT_NOISE, ASPECT_SPEED_NOISE, ASPECT_SEEN_NOISE = 1e-2, 1e-5, 1e-1


class Motion:
    """The state of n boxes: centre x and y, aspect (width / height) and height, and the speed of each, a step.

    The four are independent of each other, so that a covariance is three numbers each: `_var` (3, n, 4) holds those of
    the place, of place with speed, and of the speed.
    """

    def __init__(self) -> None:
        self._place = self._speed = np.zeros((0, 4))
        self._var = np.zeros((3, 0, 4))

    def boxes(self) -> Floats:
        """(n, 4): x0, y0, x1, y1."""
        x, y, aspect, height = self._place.T
        half = np.stack((np.maximum(aspect, 1e-3) * height, height)) / 2
        return np.stack((x - half[0], y - half[1], x + half[0], y + half[1]), 1)

    def advance(self, seconds: float, still: npt.NDArray[np.bool_]) -> None:
        """Predict; the height of those that are `still` (lost) no longer grows or shrinks."""
        steps = seconds / STEP_S
        self._speed = np.where(still[:, None] & np.array([False, False, False, True]), 0.0, self._speed)
        self._place = self._place + steps * self._speed
        self._place[:, 3] = np.maximum(self._place[:, 3], 1.0)
        own, cross, speed = self._var
        place_noise, speed_noise = self._noise()
        self._var = np.stack(
            (
                own + 2 * steps * cross + steps**2 * speed + steps * place_noise**2,
                cross + steps * speed,
                speed + steps * speed_noise**2,
            )
        )

    def correct(self, which: npt.NDArray[np.intp], boxes: Floats) -> None:
        """Take in that the tracks `which` (k,) were seen at `boxes` (k, 4)."""
        height = self._place[which, 3:]
        seen_noise = np.concatenate([height * PLACE_NOISE] * 4, 1)
        seen_noise[:, 2] = ASPECT_SEEN_NOISE
        own, cross, speed = self._var[:, which]
        total = own + seen_noise**2
        error = measured(boxes) - self._place[which]
        self._place[which] += own / total * error
        self._speed[which] += cross / total * error
        self._var[:, which] = np.stack((own - own**2 / total, cross - own * cross / total, speed - cross**2 / total))

    def add(self, boxes: Floats) -> None:
        """New tracks at `boxes` (k, 4), at the end; their speeds are unknown."""
        place = measured(boxes)
        before = len(self._place)
        self._place = np.concatenate((self._place, place))
        self._speed = np.concatenate((self._speed, np.zeros_like(place)))
        self._var = np.concatenate((self._var, np.zeros((3, *place.shape))), 1)
        place_noise, speed_noise = self._noise()
        self._var[0, before:] = (2 * place_noise[before:]) ** 2
        self._var[2, before:] = (10 * speed_noise[before:]) ** 2

    def keep(self, which: npt.NDArray[np.bool_]) -> None:
        """Forget all but `which` (n,)."""
        self._place, self._speed, self._var = self._place[which], self._speed[which], self._var[:, which]

    def _noise(self) -> tuple[Floats, Floats]:
        height = self._place[:, 3:]
        place = np.concatenate([height * PLACE_NOISE] * 4, 1)
        speed = np.concatenate([height * SPEED_NOISE] * 4, 1)
        place[:, 2], speed[:, 2] = ASPECT_NOISE, ASPECT_SPEED_NOISE
        return place, speed


def measured(boxes: Floats) -> Floats:
    """Centre, aspect and height (n, 4) of boxes x0, y0, x1, y1."""
    x0, y0, x1, y1 = boxes.astype(np.float64).T
    height = np.maximum(y1 - y0, 1.0)
    return np.stack(((x0 + x1) / 2, (y0 + y1) / 2, (x1 - x0) / height, height), 1)
