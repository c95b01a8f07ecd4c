"""The user's guide against the program: what it names exists, and what exists is named."""

import ast
import importlib.util
import math
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
import yaml
from tests.data.test_pair_layouts import DATA_SETS, documented

from mapmend.change.record import FILES
from mapmend.core.errors import ManifestError
from mapmend.core.manifest import COLUMNS, parse_manifest
from mapmend.data.scenes import check_files, read_scenes
from mapmend.project import VERBS, load_project

ROOT = Path(__file__).parents[1]
PAGES = sorted((ROOT / "docs").glob("*.md"))
_spec = importlib.util.spec_from_file_location("docs_hooks", ROOT / "docs" / "hooks.py")
hooks = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(hooks)


def page(name):
    """A page as mkdocs gets it, with its generated parts."""
    return hooks.on_page_markdown((ROOT / "docs" / f"{name}.md").read_text())


def tables(text):
    """Rows of all tables, as cells."""
    lines = [line.strip().strip("|") for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)] for line in lines if not set(line) <= set("|-: ")]


def blocks(language):
    """The fenced blocks of a language on all pages."""
    fence = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
    found = [(path.stem, text) for path in PAGES for kind, text in fence.findall(path.read_text()) if kind == language]
    return [pytest.param(text, id=f"{name}-{number}") for number, (name, text) in enumerate(found)]


def settings_fields():
    """(class, field) of every settings class of the package."""
    for path in (ROOT / "src" / "mapmend").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef) and "settings" in map(ast.unparse, node.decorator_list):
                declared = [line for line in node.body if isinstance(line, ast.AnnAssign)]
                fields = [line for line in declared if "ClassVar" not in ast.unparse(line.annotation)]
                yield from ((node.name, line.target.id) for line in fields)


def test_every_setting_is_explained():
    rows = {
        row[0]: row for name in ("audit", "noise", "pseudo", "sample", "project-file") for row in tables(page(name))
    }
    found = list(settings_fields())
    assert len({cls for cls, _ in found}) >= 7
    for cls, field in found:
        row = rows.get(f"`{field}`")
        assert row is not None, f"{cls}.{field} is not on the page"
        assert len(row) == 4 and len(row[3].split()) >= 2, f"{cls}.{field} has no meaning"


@pytest.mark.parametrize(
    "key, value, default",
    [
        ("window", "a whole number ≥ 32, or empty", "empty"),
        ("validation_share", "a number ≥ 0 and ≤ 0.5", "`0.2`"),
        ("schedule", "`poly`, `cosine`, `constant`", "`cosine`"),
        ("channels_last", "yes or no", "yes"),
        ("class_weights", "`none`, `inverse_sqrt` or a list, each a number ≥ 0", "`none`"),
        ("decoder_widths", "a list, each a whole number", "empty"),
    ],
)
def test_types_limits_and_defaults_in_words(key, value, default):
    [row] = [row for row in tables(page("project-file")) if row[0] == f"`{key}`"]
    assert row[1:3] == [value, default]


def test_every_verb_and_option_is_explained():
    text = page("verbs")
    offered = subprocess.run(
        [sys.executable, "-m", "mapmend", "--help"], capture_output=True, text=True, check=True, env={"COLUMNS": "200"}
    ).stdout
    sections = dict(re.findall(r"^## ([\w -]+)\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL))
    assert set(VERBS) <= set(sections)
    for verb, call in hooks.commands().items():
        assert re.search(rf"\b{verb.split()[0]}\b", offered)
        rows = {row[0]: row for row in tables(sections[verb])}
        for name, _, _, info in hooks.options(call):
            escaped = name.replace("|", "\\|")
            assert rows[f"`{escaped}`"][3] == info.help.replace("<the", "&lt;the"), f"{verb} {name}"


def test_every_column_of_the_manifest_is_explained():
    rows = {row[0]: row[1] for row in tables(page("manifest")) if len(row) == 2}
    assert all(len(rows[f"`{name}`"].split()) > 2 for name in COLUMNS)


def test_commands_in_the_guide_exist():
    commands = hooks.commands()
    texts = [path.read_text() for path in (*PAGES, ROOT / "README.md")]
    lines = [line for text in texts for line in re.findall(r"^mapmend .*|(?<=`)mapmend [^`]+(?=`)", text, re.MULTILINE)]
    assert len(lines) > 8
    for line in lines:
        words = re.sub(r"[][|]", " ", line).split()
        if words[1] == "VERB" or words[1].startswith("-"):
            continue
        verb = next((name for name in (" ".join(words[1:3]), words[1]) if name in commands), None)
        assert verb is not None, line
        known = {name for name, *_ in hooks.options(commands[verb])}
        assert {word for word in words if word.startswith("--")} <= known, line


@pytest.mark.parametrize("text", blocks("yaml"))
def test_project_files_in_the_guide_are_read(text, tmp_path):
    plain = yaml.safe_load(text)
    if "source" in plain:
        assert {"target", "mapping"} <= set(plain), "a crosswalk"
        return
    if plain in [documented(heading) for heading in DATA_SETS]:
        return  # tests/data/test_pair_layouts.py prepares these
    (tmp_path / "aoi.gpkg").touch()
    whole = {"name": "x", "legend": "worldcover", "sensors": {"optical": "rgb"}, "scenes": "s.csv", **plain}
    (tmp_path / "p.yaml").write_text(yaml.safe_dump(whole))
    project = load_project(tmp_path / "p.yaml")
    folders = {"torchgeo", "chesapeake", "poland", "openearthmap", "openearthmap_sar"}  # data that are not there
    entries = [] if isinstance(project.scenes, str) else [row for row in project.scenes if not folders & row.keys()]
    for entry in entries:
        for path in patterns_of(entry):
            for name in ("one", "two", "three"):
                file = tmp_path / path.replace("{name}", name)
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text({"train.txt": "one", "val.txt": "two", "test.txt": "three"}.get(file.name, ""))
    rows = read_scenes(entries, tmp_path) if entries else ()
    check_files(rows, "guide")
    listed = [entry for entry in entries if "list" in entry or isinstance(entry.get("split"), dict)]
    for entry in listed:
        splits = {"one": "train", "two": "val", "three": "test"}
        expected = {("one", "train")} if "list" in entry else set(splits.items())
        assert {(row.site, row.split) for row in rows} == expected


def patterns_of(entry):
    """Every path that an entry of `scenes` names."""
    for key in ("image", "label", "change", "list", "split"):
        value = entry.get(key)
        if key == "split" and not isinstance(value, dict):
            continue
        parts = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else [value]
        yield from (str(part) for part in parts if part is not None)


def test_dates_that_the_manifest_page_refuses_are_refused(tmp_path):
    refused = {row[0]: re.findall(r"`([^`]+)`", row[0]) for row in tables(page("manifest")) if len(row) == 3}
    pairs = [dates for text, dates in refused.items() if " and " in text and len(dates) == 2]
    assert len(pairs) == 3
    for dates in [*pairs, ["t02", "t10"], ["2014-05", "2014-07"]]:
        text = "site,date,image\n" + "".join(f"a,{date},{date}.tif\n" for date in dates)
        if dates in pairs:
            with pytest.raises(ManifestError):
                parse_manifest(text, where="guide", folder=tmp_path)
        else:
            assert len(parse_manifest(text, where="guide", folder=tmp_path)) == 2


def test_probabilities_of_change_on_the_page():
    """P(change) = ½ Σ |p − q|, by hand from the numbers in the page's own table."""
    rows = [row for row in tables(page("change")) if re.match(r"0\.\d+, ", row[0])]
    assert len(rows) == 3
    for before, after, differ, probability in rows:
        p, q = ([float(number) for number in cell.split(", ")] for cell in (before, after))
        assert math.isclose(sum(abs(a - b) for a, b in zip(p, q, strict=True)) / 2, float(probability), abs_tol=1e-9)
        assert (differ == "yes") == (p.index(max(p)) != q.index(max(q)))


def test_the_readme_names_every_verb_once():
    named = [row[0].strip("`") for row in tables((ROOT / "README.md").read_text())]
    assert sorted(name for name in named if name in hooks.commands()) == sorted(hooks.commands())


def test_files_of_a_change_folder_are_all_explained():
    text = page("formats")
    for name in FILES:
        assert f"`{name}`" in text, name


@pytest.mark.parametrize("path", [*ROOT.glob("*.md"), *PAGES], ids=lambda path: path.name)
def test_links_lead_somewhere(path):
    for link in re.findall(r"\]\((?!https?:)([^)\s]+)\)", path.read_text()):
        target, _, anchor = link.partition("#")
        file = path.parent / target if target else path
        assert file.exists(), link
        if anchor:
            headings = re.findall(r"^#+ (.*)$", hooks.on_page_markdown(file.read_text()), re.MULTILINE)
            assert anchor in map(slug, headings), link


def slug(heading):
    """The anchor of a heading, as mkdocs makes it."""
    return re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", heading).strip().lower())


def texts_of_the_program():
    """Every text in the source, f-strings with what varies as `…`."""
    for path in (ROOT / "src" / "mapmend").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value
            elif isinstance(node, ast.JoinedStr):
                yield "".join(part.value if isinstance(part, ast.Constant) else "…" for part in node.values)


def test_messages_in_the_guide_are_the_programs():
    said = "\n".join(texts_of_the_program())
    messages = [row[0].strip("`") for row in tables(page("errors")) if row[0].startswith("`")]
    assert len(messages) > 40
    unknown = [message for message in messages if message not in said]
    assert not unknown


def test_pictures_are_there_and_small():
    named = {name for path in PAGES for name in re.findall(r"!\[[^\]]*\]\(([^)\s]+)\)", path.read_text())}
    for name in named:
        assert (ROOT / "docs" / name).stat().st_size < 300_000, name


class Foreign(HTMLParser):
    """Collects what a browser would fetch from elsewhere to show a page."""

    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attributes):
        for name, value in attributes:
            fetched = name == "src" or (name == "href" and tag == "link")
            if fetched and value and re.match(r"(https?:)?//", value):
                self.found.append(value)


@pytest.mark.slow
def test_the_site_is_built_without_a_warning_and_needs_no_network(tmp_path):
    pytest.importorskip("material", reason="mkdocs-material is not installed: pip install 'mapmend[docs]'")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")]
    made = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert made.returncode == 0, made.stderr
    pages = {path.stem: path.read_text() for path in (tmp_path / "site").glob("*.html")}
    assert "a whole number ≥ 32, or empty" in pages["project-file"] and "mmu_ha" in pages["project-file"]
    for name, text in pages.items():
        parser = Foreign()
        parser.feed(text)
        assert not parser.found, name
