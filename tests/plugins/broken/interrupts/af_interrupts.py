"""A plugin that raises what a person's Ctrl-C raises."""

raise KeyboardInterrupt
