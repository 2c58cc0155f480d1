"""The TUI's screens, one small module each."""
