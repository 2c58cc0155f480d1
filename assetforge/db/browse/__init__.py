"""What the TUI shows, read with the standard library alone: whole tables as row ids, pages of rows by id, and never a lock that somebody waits for."""
