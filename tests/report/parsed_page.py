"""A report as a test reads it."""

import re
from html.parser import HTMLParser

VOID = {"meta", "link", "img", "br", "input", "hr"}


def plain(text):
    """Text as a browser shows it: line breaks are blanks, but a narrow no-break space stays."""
    return re.sub(r"[ \t\n]+", " ", text).strip()


class Page(HTMLParser):
    """Checks nesting, and gathers attributes, tables (rows of cell texts by caption) and the text."""

    def __init__(self, html):
        super().__init__()
        self.open, self.attributes, self.tables, self.text, self.ids = [], [], {}, [], []
        self.table, self.row, self.cell, self.caption = None, None, None, None
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.attributes += [(tag, name, value) for name, value in attrs]
        self.ids += [value for name, value in attrs if name == "id"]
        if tag not in VOID:
            self.open.append(tag)
        if tag == "table":
            self.table = []
        elif tag == "caption":
            self.caption = ""
        elif tag == "tr" and self.table is not None:
            self.row = []
        elif tag in ("td", "th"):
            self.cell = ""

    def handle_startendtag(self, tag, attrs):
        self.attributes += [(tag, name, value) for name, value in attrs]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, f"{tag} closed out of order"
        if tag in ("td", "th") and self.row is not None:
            self.row.append(plain(self.cell))
            self.cell = None
        elif tag == "tr" and self.table is not None:
            self.table.append(self.row)
        elif tag == "caption":
            self.name, self.caption = plain(self.caption), None
        elif tag == "table":
            self.tables[self.name] = self.table
            self.table = None

    def handle_data(self, data):
        if self.cell is not None:
            self.cell += data
        elif self.caption is not None:
            self.caption += data
        if not {"style", "script"} & set(self.open):
            self.text.append(data)

    def words(self):
        return plain(" ".join(self.text))


def number(text):
    return float(text.replace("\N{MINUS SIGN}", "-").replace("\N{NARROW NO-BREAK SPACE}", ""))
