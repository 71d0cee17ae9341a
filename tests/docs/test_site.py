"""The site: a page for every entry of a registry, and nothing of other hosts in it."""

import html
import inspect
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import llfc
from docs.tools.convergence import ends
from docs.tools.docstrings import as_markdown
from docs.tools.families import FAMILIES, in_full, in_short
from docs.tools.formulas import in_mathml
from docs.tools.pictures import PICTURES, drawn
from docs.tools.registries import REGISTRIES, entries, pages
from llfc.connectivity.corrections import CORRECTIONS
from llfc.connectivity.measures.registry import MEASURES
from llfc.matching.matchers import MATCHERS

ROOT = Path(__file__).parents[2]
FILLED = {"Matchers": MATCHERS, "Measures": MEASURES, "Corrections": CORRECTIONS}


@pytest.mark.parametrize("registry", REGISTRIES, ids=lambda registry: registry.title)
def test_every_entry_of_a_registry_has_a_page_of_its_function(registry):
    found = {entry.name: entry.path for entry in entries(registry)}
    there = FILLED[registry.title]
    assert found == {name: f"{f.__module__}.{f.__qualname__}" for name, f in there.items()}
    made = pages()
    for name in there:
        assert f"::: {found[name]}\n" in made[f"{registry.folder}/{name}.md"]
        assert f"[`{name}`]({name}.md)" in made[f"{registry.folder}/index.md"]


def test_docstrings_are_markdown():
    given = "Of <f, g>.\n\n.. math:: a_1 <\n          b\n\nAnd `a < b`.\n\n>>> 1 + 1\n2\n"
    assert as_markdown(given) == (
        "Of &lt;f, g&gt;.\n\n$$\na_1 < b\n$$\n\nAnd `a < b`.\n\n```pycon\n>>> 1 + 1\n2\n```\n"
    )


def test_formulas_are_mathml():
    page = in_mathml('<p>x</p><div class="arithmatex">\\[\\max_P a &lt; b\\]</div>')
    assert page.startswith("<p>x</p><math")
    assert html.unescape(re.sub("<.*?>", "", page)) == "xmaxPa<b"
    assert "arithmatex" not in page


@pytest.mark.parametrize("registry", FILLED)
def test_every_entry_says_what_it_costs(registry):
    for name, function in FILLED[registry].items():
        assert "Costs" in inspect.getdoc(function), name


@pytest.mark.slow
@pytest.mark.parametrize("name", PICTURES)
def test_pictures_are_as_they_are_drawn(name):
    """If not: python -m docs.tools.pictures."""
    number = re.compile(r"\d+\.\d+")
    stored = (ROOT / f"docs/pictures/{name}.svg").read_text()
    new = drawn(name)
    assert number.sub("", new) == number.sub("", stored)
    if name in ("convergence", "families"):  # their numbers are results
        found, known = (np.array(number.findall(text), dtype=float) for text in (new, stored))
        np.testing.assert_allclose(found, known, atol=0.1)


def test_the_families_of_the_picture_are_those_of_the_numbers_over_families():
    makefile = (ROOT / "Makefile").read_text().replace("\\\n", "")
    (names,) = re.findall(r"^STUDIED := (.*)$", makefile, re.M)
    assert sorted(names.split()) == sorted(FAMILIES)


LIMIT = {"vgg11": 0.1, "resnet20": 0.1}  # of the test error on Fashion-MNIST; others have more


def test_the_families_of_the_mean_meet_the_rules_of_the_protocol():
    for sweep in FAMILIES:
        trials = pd.read_parquet(ROOT / f"docs/results/{sweep}.trials.parquet")
        widest = trials[trials["width"] == trials["width"].max()]
        if set(trials["dataset"]) <= {"fashion-mnist", "modular-addition"}:
            errors = widest[["test_error_a", "test_error_b"]].to_numpy()
            assert errors.max() <= LIMIT.get(trials["architecture"].iloc[0], 0.12), sweep
    measured = ends()
    assert measured.keys() == {*FAMILIES.values()}
    assert all(trained <= 1.2 * twice for trained, twice in measured.values()), measured


@pytest.mark.slow
@pytest.mark.parametrize(("page", "rows"), [("README", in_short), ("study", in_full)])
def test_the_tables_by_family_are_those_of_the_frames(page, rows):
    """If not: python -m docs.tools.families."""
    text = (ROOT / f"docs/results/{page}.md").read_text()
    assert [row for row in rows() if row not in text] == []


@pytest.mark.slow
def test_the_site_is_built_strictly_and_has_all_that_it_shows(tmp_path):
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "-d", str(tmp_path)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr + done.stdout
    for title, registry in FILLED.items():
        for name in registry:
            page = (tmp_path / title.lower() / f"{name}.html").read_text()
            assert '<div class="picture"' in page, name
    api = (tmp_path / "api.html").read_text()
    elsewhere = {"MATCHERS", "TASKS", "__version__"}  # named in its text
    for name in sorted({*llfc.__all__} - elsewhere):
        assert re.search(rf'id="llfc\.([\w.]+\.)?{name}"', api), name
    assert all(f"llfc.{name}" in api for name in elsewhere)
    for page in tmp_path.rglob("*.html"):
        text = page.read_text()
        loaded = re.findall(
            r"<(?:script|img|link|iframe)\b[^>]*?(?:src|href)=\"?(https?:[^\"> ]+)", text
        )
        assert not loaded, page
        assert "arithmatex" not in text, page
        assert "][llfc." not in text, page  # a reference that leads nowhere
    for sheet in tmp_path.rglob("*.css"):
        assert not re.search(r"url\(\s*[\"']?https?:", sheet.read_text()), sheet
