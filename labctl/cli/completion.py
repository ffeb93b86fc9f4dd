"""``labctl completion``: the code that a shell loads to complete labctl's words."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from labctl.errors import UsageError


@click.command(
    epilog="""\b
Examples:
  bash:  labctl completion bash > ~/.local/share/bash-completion/completions/labctl
  zsh:   labctl completion zsh > "${fpath[1]}/_labctl"
  fish:  labctl completion fish > ~/.config/fish/completions/labctl.fish"""
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print completion code for SHELL; names and tags come from the inventory."""
    from labctl.cli.main import app

    kind = get_completion_class(shell)
    if kind is None:  # Click knows these three; a newer Click might not
        raise UsageError(f"no completion for {shell}", action="use bash, zsh or fish")
    click.echo(kind(app, {}, "labctl", "_LABCTL_COMPLETE").source())
