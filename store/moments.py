"""Moments as the store writes them: ISO 8601, UTC where nothing else is said."""

import datetime

from store.errors import InvalidMoment

__all__ = ["parse_moment"]


def parse_moment(text: str) -> datetime.datetime:
    """Return the moment that an ISO 8601 text names, with its time zone; UTC without one.

    Raises:
        InvalidMoment: it is no such text.
    """
    try:
        moment = datetime.datetime.fromisoformat(text)
    except (TypeError, ValueError) as error:
        raise InvalidMoment(
            f"{text!r}: a moment in ISO 8601 expected, such as 2026-02-01 or 2026-02-01T13:30:00Z."
        ) from error
    return moment if moment.tzinfo else moment.replace(tzinfo=datetime.UTC)
