"""A hook of MkDocs: a page of the commands as their `--help` says them, and each page as Markdown beside its HTML."""

from pathlib import Path

import typer
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from typer.cli import get_docs_for_click

from personaagent.cli import app


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add `commands.md`."""
    command = typer.main.get_command(app)
    page = get_docs_for_click(obj=command, ctx=typer.Context(command), name="personaagent", title="Command line")
    files.append(File.generated(config, "commands.md", content=page))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> None:
    """Write a page where `llms.txt` links to it."""
    del files
    copy = Path(config.site_dir, page.file.src_uri)
    copy.parent.mkdir(parents=True, exist_ok=True)
    copy.write_text(markdown, encoding="utf-8")
