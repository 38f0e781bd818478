"""Bytes, rates, durations and relative differences in words."""


def bytes_in_words(count: float) -> str:
    """Spell bytes with three digits and a decimal unit, e.g. ``"4.8 MB"``."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:,.1f} TB"


def number(value: float) -> str:
    """Spell a rate with three digits at least, without an exponent where it is large."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def duration(seconds: float) -> str:
    """Spell a time in the unit in which it is easily read: s, min, h or days."""
    for limit, unit, length in ((120, "s", 1), (7200, "min", 60), (2 * 86400, "h", 3600)):
        if seconds < limit:
            return f"{seconds / length:.{1 if unit == 'h' else 0}f} {unit}"
    return f"{seconds / 86400:,.1f} days"


def relative(value: float, reference: float | None) -> str:
    """Say how far below or above a reference a value is."""
    if not reference:
        return "not comparable with"
    change = round(100 * (1 - value / reference))
    if change == 0:
        return "level with"
    return f"{abs(change)} % {'below' if change > 0 else 'above'}"
