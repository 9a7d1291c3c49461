"""A hook of MkDocs: the page of commands, as their `--help` says them."""

import typer
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from typer.cli import get_docs_for_click

from personaagent.cli import app


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add `commands.md`."""
    command = typer.main.get_command(app)
    page = get_docs_for_click(obj=command, ctx=typer.Context(command), name="personaagent", title="Command line")
    files.append(File.generated(config, "commands.md", content=page))
    return files
