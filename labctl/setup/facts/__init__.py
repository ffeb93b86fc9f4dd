"""Facts: questions about a machine that a small shell snippet answers.

A fact is a command and a parser, apart from any transport. Facts of one kind are collected
together, so that a hundred packages cost one ``dpkg-query``. Collecting never writes.
"""

from labctl.setup.facts.base import Fact, World, collect_script, parse_collected

__all__ = ["Fact", "World", "collect_script", "parse_collected"]
