"""Every page is found: in the navigation of the site, and in what an LM reads of it."""

import yaml

from .test_fences import ROOT

DOCS = ROOT / "docs"
PAGES = sorted(page.relative_to(DOCS).as_posix() for page in DOCS.rglob("*.md"))


def test_the_navigation_names_every_page() -> None:
    navigation = str(yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"])
    assert [page for page in PAGES if f"'{page}'" not in navigation] == []


def test_llms_txt_names_every_page() -> None:
    text = (DOCS / "llms.txt").read_text()
    assert [page for page in PAGES if f"({page})" not in text] == []
