"""Solar schedules: when the sun rises, culminates and sets at a place, and when its light comes and goes.

Law: pure arithmetic. The sun's place in the sky is Meeus' (Astronomical Algorithms, chapters 22 and 25), good to
a hundredth of a degree, so that an event is right to a few seconds where the sun crosses the horizon steeply and
to about a minute where it grazes it. Celery's definitions hold: sunrise and sunset are those of the sun's upper
edge at 34 minutes of arc below the horizon, the twilights those of its centre at 6, 12 and 18 degrees below, all
without further refraction, at sea level.

An event that does not happen every day (polar night, midnight sun, white nights) may be months away; but at every
place, the poles included, each of them happens at least once a year, so every search ends.
"""

from __future__ import annotations

import math
from datetime import datetime, timedelta, tzinfo
from typing import NamedTuple

from ..errors import BadCall, shown
from ..values import dataclass
from .schedules import Due
from .walltime import LATEST, instant, shown_in

_J2000 = datetime(2000, 1, 1, 12)  # noqa: DTZ001 - an instant, as walltime has them
_DAY = timedelta(days=1)
_TENTH_OF_A_SECOND = 1e-6  # of a day
_DELTA_T = 70 / 86400  # days by which the time of the planets is ahead of the earth's, near enough for 1970 to 2060
_AU_RADIUS = 0.26656  # degrees: half the sun's width at the mean distance
_AU_PARALLAX = 0.00244  # degrees


class _Event(NamedTuple):
    """A crossing of an altitude (degrees), upwards or downwards, by the sun's upper edge or by its centre."""

    altitude: float
    rising: bool
    edge: bool = False


_CROSSINGS = {
    "dawn_astronomical": _Event(-18, rising=True),
    "dawn_nautical": _Event(-12, rising=True),
    "dawn_civil": _Event(-6, rising=True),
    "sunrise": _Event(-34 / 60, rising=True, edge=True),
    "sunset": _Event(-34 / 60, rising=False, edge=True),
    "dusk_civil": _Event(-6, rising=False),
    "dusk_nautical": _Event(-12, rising=False),
    "dusk_astronomical": _Event(-18, rising=False),
}
NOON = "solar_noon"
EVENTS = (*list(_CROSSINGS)[:4], NOON, *list(_CROSSINGS)[4:])


class _Sun(NamedTuple):
    """Where the sun stands for an observer: local hour angle and declination in radians, distance in AU."""

    hour_angle: float
    declination: float
    distance: float


@dataclass(frozen=True, slots=True)
class Solar:
    """An event of the sun at a place: latitude north and longitude east in degrees. Made by `solar`."""

    event: str
    lat: float
    lon: float

    def next(self, after: datetime, zone: tzinfo) -> datetime | None:
        """The first such event later than `after`; None when the calendar ends before it."""
        found = self._next(instant(after, "after"))
        return None if found == LATEST else shown_in(zone, found)

    def remaining_estimate(self, last_run_at: datetime, now: datetime, zone: tzinfo) -> timedelta:  # noqa: ARG002 - the sun knows no zones, the other schedules do
        return self._next(instant(last_run_at, "last_run_at")) - instant(now, "now")

    def is_due(self, last_run_at: datetime, now: datetime, zone: tzinfo) -> Due:  # noqa: ARG002 - as above
        present = instant(now, "now")
        upcoming = self._next(instant(last_run_at, "last_run_at"))
        due = upcoming <= present
        if due:
            upcoming = self._next(present)
        return Due(is_due=due, next=max((upcoming - present).total_seconds(), 0.0))

    def _next(self, at: datetime) -> datetime:
        crossing = _CROSSINGS.get(self.event)
        try:
            return self._next_noon(at) if crossing is None else self._next_crossing(crossing, at)
        except OverflowError:  # the calendar has ended
            return LATEST

    # Noons and midnights have whole and half numbers, and every search starts from them. So an event is always
    # found at the same microsecond, and the one that a schedule has just run is never taken for a later one.

    def _next_noon(self, at: datetime) -> datetime:
        number = self._number_before(at)
        while (found := _moment(self._culmination(number))) <= at:
            number += 1.0
        return found

    def _next_crossing(self, crossing: _Event, at: datetime) -> datetime:
        number = self._number_before(at)
        early = self._culmination(number)
        height = self._above(crossing, early)
        while True:
            number += 0.5
            late = self._culmination(number)
            height_late = self._above(crossing, late)
            if (height < 0 <= height_late) if crossing.rising else (height >= 0 > height_late):
                found = _moment(self._crossed(crossing, early, late))
                if found > at:
                    return found
            early, height = late, height_late

    def _crossed(self, crossing: _Event, early: float, late: float) -> float:
        """Between a noon and a midnight the altitude only rises or only falls, so halving finds the crossing."""
        while late - early > _TENTH_OF_A_SECOND:
            middle = (early + late) / 2
            if (self._above(crossing, middle) < 0) == crossing.rising:
                early = middle
            else:
                late = middle
        return late

    def _number_before(self, at: datetime) -> float:
        return math.floor((at - _J2000) / _DAY + self.lon / 360) - 1.0

    def _culmination(self, number: float) -> float:
        """The noon of a whole number, or the midnight of a half one, counted from the first noon of 2000."""
        turn = math.tau * (number % 1.0)
        at = number - self.lon / 360
        for _ in range(3):
            angle = self._sun(at).hour_angle - turn
            at -= (angle - math.tau * round(angle / math.tau)) / math.tau
        return at

    def _above(self, crossing: _Event, at: float) -> float:
        """How far the sun is above the altitude of an event, in degrees."""
        sun = self._sun(at)
        lat = math.radians(self.lat)
        sine = math.sin(lat) * math.sin(sun.declination) + math.cos(lat) * math.cos(sun.declination) * math.cos(
            sun.hour_angle
        )
        altitude = math.asin(min(1.0, max(-1.0, sine)))
        height = math.degrees(altitude) - _AU_PARALLAX / sun.distance * math.cos(altitude)
        return height + (_AU_RADIUS / sun.distance if crossing.edge else 0.0) - crossing.altitude

    def _sun(self, at: float) -> _Sun:
        """`at` in days since noon of the first day of 2000, UTC."""
        century = (at + _DELTA_T) / 36525
        mean_longitude = 280.46646 + century * (36000.76983 + century * 0.0003032)
        anomaly = math.radians(357.52911 + century * (35999.05029 - century * 0.0001537))
        eccentricity = 0.016708634 - century * (0.000042037 + century * 0.0000001267)
        centre = (
            (1.914602 - century * (0.004817 + century * 0.000014)) * math.sin(anomaly)
            + (0.019993 - century * 0.000101) * math.sin(2 * anomaly)
            + 0.000289 * math.sin(3 * anomaly)
        )
        distance = 1.000001018 * (1 - eccentricity**2) / (1 + eccentricity * math.cos(anomaly + math.radians(centre)))
        node = math.radians(125.04 - 1934.136 * century)
        longitude = math.radians(mean_longitude + centre - 0.00569 - 0.00478 * math.sin(node))
        obliquity = math.radians(23.4392911 - century * (0.0130042 + century * 0.00000016) + 0.00256 * math.cos(node))
        ascension = math.atan2(math.cos(obliquity) * math.sin(longitude), math.cos(longitude))
        declination = math.asin(math.sin(obliquity) * math.sin(longitude))
        equinoxes = -0.00478 * math.sin(node) * math.cos(obliquity)
        sidereal = math.radians(280.46061837 + 360.98564736629 * at + equinoxes + self.lon)
        return _Sun(sidereal - ascension, declination, distance)


def _moment(days: float) -> datetime:
    return _J2000 + days * _DAY


def solar(event: object, lat: object, lon: object) -> Solar:
    """A solar schedule from an event's name and a place."""
    if not isinstance(event, str) or event not in EVENTS:
        raise BadCall(f"solar: event: expected one of {', '.join(EVENTS)}, got {shown(event)}")
    return Solar(event, _degrees("lat", lat, 90), _degrees("lon", lon, 180))


def _degrees(name: str, value: object, limit: int) -> float:
    if not isinstance(value, (int, float)) or not -limit <= value <= limit:
        raise BadCall(f"solar: {name}: expected degrees from {-limit} to {limit}, got {shown(value)}")
    return float(value)
