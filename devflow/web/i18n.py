"""The words and forms of the reader's language: gettext for text, filters for numbers and dates."""

from __future__ import annotations

import functools
import shlex
from contextvars import ContextVar
from datetime import UTC, date, datetime, timedelta
from typing import Final, Literal

import flask_babel
from babel import Locale
from babel.dates import format_date, format_skeleton, format_time, format_timedelta, get_day_names
from babel.numbers import format_compact_decimal, format_decimal, format_percent
from babel.support import NullTranslations
from flask import Flask, appcontext_popped, appcontext_pushed, request
from werkzeug.wrappers import Response

from devflow import windows
from devflow.errors import DevflowError
from devflow.web import session as browser
from devflow.web.addresses import is_for_programs
from devflow.web.catalogs import OFFERED, SOURCE, translations
from devflow.web.current import calendar

CHOSEN: Final = "language"
"""The cookie of a browser whose owner chose a language; it holds nothing else."""
CHOSEN_FOR_S: Final = 365 * 86_400
MINUTE_S: Final = 60
HOUR_S: Final = 3_600
LONG_HOURS: Final = 100
"""From so many hours on, minutes say nothing."""
_LANGUAGE: Final[ContextVar[str | None]] = ContextVar("language", default=None)
"""Of who reads now, once it was asked for. ``flask.g`` takes twenty times as long to look into."""


def init_app(app: Flask) -> None:
    # Texts are looked up here: Flask-Babel asks anew which language it is for each.
    flask_babel.Babel(app, locale_selector=preferred, configure_jinja=False)
    app.jinja_env.add_extension("jinja2.ext.i18n")
    app.jinja_env.install_gettext_callables(  # type: ignore[attr-defined]  # comes with the extension
        lambda text: _texts().gettext(text),
        lambda one, many, count: _texts().ngettext(one, many, count),
        newstyle=True,
    )
    app.after_request(_vary)
    for another_reader in (appcontext_pushed, appcontext_popped):
        another_reader.connect(_forget, app)
    app.jinja_env.globals["languages"] = OFFERED
    app.add_template_global(locale, "locale")
    app.add_template_global(zone_name, "zone_name")
    spans = (duration, signed_duration, rough_duration, about, hours)
    numbers = (number, signed, compact, share, times)
    days = (day_of, day, short_day, weekday, weekday_name, short_weekday_name, month_day, month, moment, iso)
    for form in (*spans, *numbers, *days, sentence):
        app.add_template_filter(form)
    app.add_template_global(span, "span")
    app.add_template_filter(shlex.quote, "shell")


def preferred() -> str:
    """The offered language that was chosen in this browser, else the one it likes best.

    Programs are always answered in English: they compare, and people search for what they log.
    """
    if is_for_programs():
        return SOURCE
    chosen = request.cookies.get(browser.cookie_name(CHOSEN))
    return chosen if chosen in OFFERED else request.accept_languages.best_match(OFFERED) or SOURCE


def choose(response: Response, language: str) -> Response:
    """Have the browser ask for this language, one of those offered, from now on."""
    browser.set_cookie(response, CHOSEN, language, CHOSEN_FOR_S)
    return response


def _vary(response: Response) -> Response:
    if response.mimetype in ("text/html", "text/event-stream"):
        response.vary.update(("Accept-Language", "Cookie"))
    return response


def gettext(text: str, **values: object) -> str:
    """The text in the reader's language, with ``%(name)s`` filled in."""
    found = _texts().gettext(text)
    return found % values if values else found


def ngettext(one: str, many: str, count: int, **values: object) -> str:
    """The form of the text that goes with ``count``, which it may name ``%(num)s``."""
    return _texts().ngettext(one, many, count) % {"num": count, **values}


def _texts() -> NullTranslations:
    return translations(language())


def said(error: DevflowError) -> str:
    """What the error says, in the reader's language if its catalog has it."""
    if not error.message:
        return ""  # for which gettext has the head of the catalog
    return " ".join((gettext(error.message, **error.values), *map(gettext, error.more)))


def is_known(error: DevflowError) -> bool:
    """Whether ``said`` is in the reader's language. Catalogs lack what only broken addresses lead to."""
    return is_source() or gettext(error.message) != error.message


def is_source() -> bool:
    """Whether the reader reads what the code is written in."""
    return language() == SOURCE


def language() -> str:
    """The code of the reader's language; asked for some thousand times a page, and found out once."""
    found = _LANGUAGE.get()
    if found is None:
        found = str(flask_babel.get_locale())
        _LANGUAGE.set(found)
    return found


def _forget(_app: Flask) -> None:
    _LANGUAGE.set(None)


def locale() -> Locale:
    return _locale(language())


def zone_name() -> str:
    """The zone all days are cut by, such as ``Europe/Berlin``."""
    return calendar().zone.key


def number(value: int) -> str:
    """1234567 as 1,234,567."""
    return _decimal(value, None, language())


def signed(value: int) -> str:
    """12 as +12, -3 with a minus sign, and 0 as \u00b10."""
    return _sign(value) + number(abs(value))


def compact(value: int) -> str:
    """1234567 as 1.2M, for where there is little room."""
    return _compact(value, language())


def duration(seconds: int) -> str:
    """Seconds as hours and minutes, cut off below the minute, and from 100 h on below the hour."""
    hours, minutes = seconds // HOUR_S, seconds % HOUR_S // MINUTE_S
    if hours >= LONG_HOURS or (hours and not minutes):
        return gettext("%(hours)s h", hours=number(hours))
    if hours:
        return gettext("%(hours)s h %(minutes)s min", hours=hours, minutes=minutes)
    if 0 < seconds < MINUTE_S:
        return gettext("< 1 min")
    return gettext("%(minutes)s min", minutes=minutes)


def signed_duration(seconds: int) -> str:
    """A difference of times, +4 h, or below one hour +35 min."""
    return _sign(seconds) + rough_duration(abs(seconds))


def rough_duration(seconds: int) -> str:
    """Seconds as whole hours, or below one as minutes, for where there is little room."""
    return duration(seconds if seconds < HOUR_S else seconds // HOUR_S * HOUR_S)


def _sign(value: int) -> str:
    return "+" if value > 0 else "\u2212" if value else "\u00b1"


def about(seconds: int) -> str:
    """A span in the largest unit that it has two of: 7 minutes, 26 hours, 2 days."""
    return format_timedelta(timedelta(seconds=seconds), threshold=2, locale=locale())


def hours(seconds: int) -> str:
    """Seconds as hours, 1.5 h, or as minutes below one, for where there is little room."""
    if seconds % HOUR_S == 0 or seconds < HOUR_S:
        return duration(seconds)
    return gettext("%(hours)s h", hours=_decimal(seconds / HOUR_S, "0.##", language()))


def share(part: int, whole: int) -> str:
    """5 of 12 as 42%; of nothing it is 0%."""
    return format_percent(part / whole if whole else 0, locale=locale())


def times(value: float) -> str:
    """How many times something else it is: 1.83."""
    return _decimal(value, "0.##", language())


def span(first: date, last: date) -> str:
    """Both days with a dash between them, or the one day."""
    if first == last:
        return day(first)
    return gettext("%(first)s \u2013 %(last)s", first=day(first), last=day(last))


def day(value: date) -> str:
    """Nov 3, 2026."""
    return _date(value, "medium", language())


def day_of(at_ms: int) -> date:
    """The day, in the zone all days are cut by, that the instant lies in."""
    return windows.day_of(at_ms, calendar().zone)


def moment(at_ms: int, seconds: bool = False) -> str:
    """Unix milliseconds as Nov 3, 2026, 2:05 PM, or 2:05:12 PM, in the zone all days are cut by."""
    local = datetime.fromtimestamp(at_ms / 1_000, calendar().zone)
    time = format_time(local, _clock("medium" if seconds else "short", locale()), locale=locale())
    return str(locale().datetime_formats["medium"]).format(time, day(local.date()))


def weekday(value: date) -> str:
    """Tuesday, November 3, 2026."""
    return _date(value, "full", language())


def short_day(value: date) -> str:
    """Tue, Nov 3."""
    return _date(value, "MMMEd", language())


def month_day(value: date) -> str:
    """Nov 3."""
    return _date(value, "MMMd", language())


def weekday_name(number: int) -> str:
    """Tuesday, for 1."""
    return str(get_day_names("wide", locale=locale())[number])


def short_weekday_name(number: int) -> str:
    """Tue, for 1."""
    return str(get_day_names("abbreviated", locale=locale())[number])


def month(value: date) -> str:
    """Nov 2026."""
    return _date(value, "yMMM", language())


def iso(at_ms: int) -> str:
    """2026-11-03T14:30:12Z, for ``<time datetime>``."""
    return datetime.fromtimestamp(at_ms // 1_000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def sentence(message: str) -> str:
    """An error's message, which begins small and ends open, as a sentence."""
    closed = message if message.endswith((".", "!", "?")) else message + "."
    return closed[:1].upper() + closed[1:]


@functools.lru_cache
def _clock(form: Literal["medium", "short"], locale: Locale) -> str:
    """The form with the half of the day in full, as it is written in Korean: 오후 2:05."""
    return str(locale.time_formats[form]).replace("a", "aaaa")


@functools.cache  # of the languages offered
def _locale(language: str) -> Locale:
    return Locale.parse(language)


# A page has some thousand numbers and dates, mostly the same few; Babel takes 5 to 50 us for each.
@functools.lru_cache(maxsize=10_000)
def _decimal(value: float, form: str | None, language: str) -> str:
    return format_decimal(value, format=form, locale=language)


@functools.lru_cache(maxsize=1_000)
def _compact(value: int, language: str) -> str:
    return format_compact_decimal(value, fraction_digits=1, locale=language)


@functools.lru_cache(maxsize=10_000)
def _date(value: date, form: Literal["medium", "full", "MMMEd", "MMMd", "yMMM"], language: str) -> str:
    """``form`` is a length or a skeleton."""
    if form in ("medium", "full"):
        return format_date(value, form, locale=language)
    return format_skeleton(form, value, locale=language)
