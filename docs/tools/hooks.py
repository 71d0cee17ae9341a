"""What MkDocs calls while it builds: pages from the registries and the root, links, formulas."""

import os
import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files

from docs.tools.formulas import in_mathml
from docs.tools.measured import figure_of
from docs.tools.of_measures import FIGURES, figure_of_measure
from docs.tools.registries import REGISTRIES, entries, page_of_sources, pages

ROOT = Path(__file__).parents[2]
# Texts of the repository's root that are pages of the site.
OF_ROOT = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
}
PICTURE = re.compile(r'<p><img alt="([^"]*)" src="([^"]*pictures/(\w[\w-]*)\.svg)"[^>]*/?></p>')
LINK = re.compile(r"\]\((?!https?:|#)([^)#\s]+)(#[^)\s]*)?\)")
DARK = re.compile(r"<style>.*?</style>", re.DOTALL)


def on_config(config: MkDocsConfig) -> None:
    """A section of the navigation for each registry, in place of its folder."""
    for section in config.nav or []:
        if isinstance(section, dict):
            (title,) = section
            if isinstance(section[title], list):
                section[title] = [_listed(item) for item in section[title]]


def _listed(item: Any) -> Any:
    for registry in REGISTRIES:
        if item == {registry.title: f"{registry.folder}/"}:
            names = [entry.name for entry in entries(registry)]
            pages = [{name: f"{registry.folder}/{name}.md"} for name in names]
            return {registry.title: [f"{registry.folder}/index.md", *pages]}
    return item


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """The pages that have no file in `docs`."""
    generated = {path: f"{text}\n{_figure(path)}" for path, text in pages().items()}
    for source, page in OF_ROOT.items():
        generated[page] = _moved((ROOT / source).read_text(), source, page)
    for path, content in generated.items():
        files.append(File.generated(config, path, content=content))
    return files


def _figure(path: str) -> str:
    """What was measured of the entry whose page this is."""
    folder, name = os.path.split(path)
    name = name.removesuffix(".md")
    options = {registry.folder: registry.option for registry in REGISTRIES}
    if options[folder] == "measures":
        found = figure_of_measure(name) if name in FIGURES else ""
    else:
        found = figure_of(options[folder], name)
    return found and f"## Measured\n\n{found}"


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Links of a page to files outside `docs`, where the site has a page for them."""
    path = page.file.src_uri
    if path in OF_ROOT.values():
        return markdown
    return _moved(markdown, f"docs/{path}", path)


def _moved(markdown: str, source: str, page: str) -> str:
    """The links of a text in the repository, as they are on its page."""
    of_sources = page_of_sources()

    def relinked(match: re.Match[str]) -> str:
        target = os.path.normpath(os.path.join(os.path.dirname(source), match[1]))
        if target.startswith("docs/"):
            place = target.removeprefix("docs/")
        elif target in OF_ROOT:
            place = OF_ROOT[target]
        elif target in of_sources:
            place = of_sources[target]
        else:
            if not (ROOT / target).exists() and not target.startswith(tuple(_folders())):
                raise PluginError(f"{source} links to {match[1]}, which is not there")
            return match[0]
        here = os.path.relpath(place, os.path.dirname(page) or ".")
        return f"]({here}{match[2] or ''})"

    parts = re.split(r"(```.*?```)", markdown, flags=re.DOTALL)
    parts[::2] = [LINK.sub(relinked, part) for part in parts[::2]]
    return "".join(parts)


def _folders() -> list[str]:
    return [f"{registry.folder}/" for registry in REGISTRIES]


def on_page_content(html: str, **_: Any) -> str:
    """Pictures in the page itself, where they take the colour of its text."""
    return PICTURE.sub(_inlined, html)


def _inlined(match: re.Match[str]) -> str:
    svg = (ROOT / "docs/pictures" / f"{match[3]}.svg").read_text()
    svg = DARK.sub("", svg[svg.index("<svg") :], count=1)
    return f'<div class="picture" role="img" aria-label="{match[1]}">{svg}</div>'


def on_post_page(output: str, **_: Any) -> str:
    """Formulas as MathML."""
    return in_mathml(output)
