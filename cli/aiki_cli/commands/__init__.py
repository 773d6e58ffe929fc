"""One file per command. At its top each imports Typer and our own light modules only."""
