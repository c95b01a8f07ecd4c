"""Numbers and names as a reader expects them in print; what is undefined says so."""

from __future__ import annotations

# what a metric is called, and what it says
METRIC_TEXTS = {
    "oa": ("Overall accuracy", "share of reference pixels whose class is right"),
    "kappa": ("Cohen’s kappa", "agreement beyond chance"),
    "miou": ("Mean IoU", "intersection over union, every class weighing the same"),
    "fwiou": ("Frequency-weighted IoU", "intersection over union, weighted by the reference’s shares"),
    "mf1": ("Mean F1", "harmonic mean of user’s and producer’s accuracy, every class weighing the same"),
    "quantity_disagreement": (
        "Quantity disagreement",
        "error because a class has too much or too little; lower is better",
    ),
    "allocation_disagreement": (
        "Allocation disagreement",
        "error because classes lie in the wrong place; lower is better",
    ),
}

CHANGE_TEXTS = {
    "iou_changed": ("IoU of change", "found change over all change of map or truth"),
    "f1_changed": ("F1 of change", "harmonic mean of precision and recall"),
    "precision_changed": ("Precision of change", "share of the map’s change that is true (user’s accuracy)"),
    "recall_changed": ("Recall of change", "share of the true change that was found (producer’s accuracy)"),
    "transition_accuracy_hits": (
        "Right from and to",
        "share of the found change whose classes before and after are both right",
    ),
    "figure_of_merit_from_to": (
        "Figure of merit",
        "change found with the right from and to, over all change of map or truth",
    ),
    "oa_change": (
        "Overall accuracy of change",
        "share of pixels rightly called changed or unchanged; high wherever change is rare",
    ),
}

UNDEFINED = "n/a"
MINUS = "\N{MINUS SIGN}"
_GROUP = "\N{NARROW NO-BREAK SPACE}"


def fraction(value: float | None) -> str:
    """A metric between 0 and 1 (or −1 and 1) with three decimals."""
    return UNDEFINED if value is None else f"{value + 0.0:.3f}".replace("-", MINUS)


def signed(value: float | None) -> str:
    """A difference of metrics, always with its sign unless it vanishes."""
    if value is None:
        return UNDEFINED
    text = f"{value:+.3f}"
    return "0.000" if float(text) == 0 else text.replace("-", MINUS)


def percent(value: float | None, decimals: int = 1) -> str:
    """A share of one as per cent."""
    return UNDEFINED if value is None else f"{100 * value:.{decimals}f}{_GROUP}%".replace("-", MINUS)


def count(value: int) -> str:
    """A whole number in groups of three."""
    return f"{value:,}".replace(",", _GROUP).replace("-", MINUS)


def area(value: float | None, unit: str, largest: float | None = None) -> str:
    """An area with four significant digits or all of its whole ones; pixels are whole.

    Args:
        value: the area.
        unit: of it; 'px' has no fractions.
        largest: of the areas it stands in one column with, which all get as many decimals as this one needs.
    """
    if value is None:
        return UNDEFINED
    size = abs(value if largest is None else largest)
    decimals = 0 if unit == "px" or size >= 1000 or size == 0 else 1 if size >= 100 else 2 if size >= 1 else 4
    if value and abs(value) < 0.5 * 10**-decimals:
        return f"<{10**-decimals:.{decimals}f}"
    return f"{value:,.{decimals}f}".replace(",", _GROUP).replace("-", MINUS)


def signed_area(value: float, unit: str, largest: float | None = None) -> str:
    """A difference of areas, with its sign unless it vanishes."""
    text = area(value, unit, largest)
    return f"+{text}" if value > 0 and not text.startswith("<") else text


def duration(seconds: float) -> str:
    """Seconds, minutes or hours, as one would say it."""
    if round(seconds, 1) < 60:
        return f"{seconds:.1f}{_GROUP}s"
    minutes = round(seconds / 60)
    if minutes < 60:
        whole = round(seconds)
        return f"{whole // 60}{_GROUP}min {whole % 60}{_GROUP}s"
    return f"{minutes // 60}{_GROUP}h {minutes % 60}{_GROUP}min"


def metric_name(name: str) -> str:
    """A metric's name in print."""
    return METRIC_TEXTS[name][0] if name in METRIC_TEXTS else spoken(name)


def readable_on(rgb: tuple[int, int, int]) -> str:
    """Black or white, whichever has the larger contrast (WCAG 2 relative luminance) on a colour."""
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in (c / 255 for c in rgb)]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return "#000000" if (luminance + 0.05) ** 2 > 1.05 * 0.05 else "#ffffff"


def spoken(name: str) -> str:
    """A class's or metric's name as words."""
    return name.replace("_", " ")
