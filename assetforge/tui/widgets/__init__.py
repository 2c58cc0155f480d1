"""The TUI's widgets, one small module each."""
