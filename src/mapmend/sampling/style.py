"""How QGIS shows a sample: rings around what is still to be answered, and a form in which classes are chosen."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from xml.etree import ElementTree as Xml

_NULL = "{2839923C-8B7D-419E-B84B-CA2FE9B80EC7}"  # what QGIS writes for NULL in a value map
_ANSWERS = ("reference_before", "reference")
_UNSEEN = ("stratum", "inclusion_probability", "round")  # an interpreter is not to know them
_TO_DO, _DONE = "230,20,120,255", "40,160,60,255"


def sample_style(fields: Sequence[str], classes: Iterable[str]) -> str:
    """A QGIS style (QML): what has no reference is ringed in magenta, what has one in green.

    In the form, references are chosen from a list of classes; strata and probabilities are hidden, and what was drawn
    cannot be edited.

    Args:
        fields: names of the layer's fields.
        classes: names that a reference may take.
    """
    names = list(classes)
    root = Xml.Element("qgis", styleCategories="Symbology|Fields|Forms")
    _rings(root)
    configuration = Xml.SubElement(root, "fieldConfiguration")
    editable = Xml.SubElement(root, "editable")
    for name in fields:
        field = Xml.SubElement(configuration, "field", name=name, configurationFlags="None")
        _widget(field, name, names)
        Xml.SubElement(editable, "field", name=name, editable=str(int(name in (*_ANSWERS, "interpreter"))))
    return Xml.tostring(root, encoding="unicode")


def _rings(root: Xml.Element) -> None:
    renderer = Xml.SubElement(root, "renderer-v2", type="RuleRenderer", symbollevels="0", enableorderby="0")
    rules, symbols = Xml.SubElement(renderer, "rules", key="{all}"), Xml.SubElement(renderer, "symbols")
    empty = "coalesce(\"reference\", '') = ''"
    kinds = (("to do", empty, _TO_DO), ("answered", f"NOT ({empty})", _DONE))
    for number, (label, filter_, color) in enumerate(kinds):
        rule = {"key": f"{{{label}}}", "label": label, "filter": filter_, "symbol": str(number)}
        Xml.SubElement(rules, "rule", rule)
        symbol = Xml.SubElement(symbols, "symbol", type="marker", name=str(number), alpha="1")
        layer = Xml.SubElement(symbol, "layer", {"class": "SimpleMarker", "enabled": "1", "locked": "0", "pass": "0"})
        options = Xml.SubElement(layer, "Option", type="Map")
        for name, value in (
            ("name", "circle"),
            ("color", "255,255,255,0"),
            ("outline_color", color),
            ("outline_width", "0.8"),
            ("size", "5"),
            ("size_unit", "MM"),
        ):
            Xml.SubElement(options, "Option", type="QString", name=name, value=value)


def _widget(field: Xml.Element, name: str, classes: Sequence[str]) -> None:
    if name in _ANSWERS:
        widget = Xml.SubElement(field, "editWidget", type="ValueMap")
        options = Xml.SubElement(Xml.SubElement(widget, "config"), "Option", type="Map")
        listed = Xml.SubElement(options, "Option", type="List", name="map")
        for label, value in (("<NULL>", _NULL), *((one, one) for one in classes)):
            entry = Xml.SubElement(listed, "Option", type="Map")
            Xml.SubElement(entry, "Option", type="QString", name=label, value=value)
    else:
        widget = Xml.SubElement(field, "editWidget", type="Hidden" if name in _UNSEEN else "TextEdit")
        Xml.SubElement(Xml.SubElement(widget, "config"), "Option")
