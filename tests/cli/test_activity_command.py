import json

from assetforge.cli.app import run
from assetforge.services.assets import add_asset
from assetforge.services.ingest import add_references
from assetforge.services.references import exclude_reference, list_references


def test_activity_pages_and_filters(project, make_png, tmp_path, capsys):
    for name in ("mara", "mar"):
        add_asset(project, name, "character")
    add_references(project, "mara", [make_png(tmp_path / "a.png", 1)])
    exclude_reference(project, list_references(project, "mara").items[0].address, "wrong hair")

    def ask(*words):
        assert run(["--json", "activity", *words]) == 0
        return json.loads(capsys.readouterr().out)["entries"]

    entries = ask()
    assert [one["verb"] for one in entries] == ["excluded", "added references", "added", "added"]
    assert entries[0]["detail"] == {"why": "wrong hair"}
    assert [one["verb"] for one in ask("mara")] == ["excluded", "added references", "added"]
    assert [one["subject"] for one in ask("mar")] == ["mar"]
    assert [one["verb"] for one in ask("--limit", "1", "--before", str(entries[0]["id"]))] == ["added references"]
    assert ask("--by", "watch") == []
    assert run(["activity", "--limit", "0"]) == 2
    assert run(["activity"]) == 0
    assert "wrong hair" in capsys.readouterr().out
