"""The film's facts in SQLite: tables, sessions, migrations, reads for long lists."""
