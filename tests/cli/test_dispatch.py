"""The command line as a contract: help, global options, exit codes, and what is imported for it."""

import json
import subprocess
import sys
from importlib import import_module

import pytest

from assetforge.cli.commands import COMMANDS
from assetforge.cli.exit_codes import ExitCode


def run(*words: str, code: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", code, *words] if code else [sys.executable, "-m", "assetforge", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_help_lists_every_command_and_imports_nothing_heavy() -> None:
    code = (
        "import sys; sys.argv = ['assetforge', '--help']\n"
        "from assetforge.cli import main\n"
        "try: main()\n"
        "except SystemExit as end: assert end.code == 0\n"
        "heavy = {'torch', 'diffusers', 'numpy', 'pydantic', 'sqlmodel', 'cyclopts', 'rich', 'PIL'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    result = run(code=code)
    assert result.returncode == 0, result.stderr
    for entry in COMMANDS:
        assert f"  {entry.name} " in result.stdout


@pytest.mark.parametrize("entry", COMMANDS, ids=lambda entry: entry.name)
def test_every_command_loads_and_has_help(entry) -> None:
    module, _, attribute = entry.load.partition(":")
    assert hasattr(import_module(module), attribute)


def test_unknown_command_and_option_are_usage_errors() -> None:
    assert run("nonsense").returncode == ExitCode.USAGE
    result = run("asset", "list", "--nonsense")
    assert result.returncode == ExitCode.USAGE
    assert "nonsense" in result.stderr
    assert result.stdout == ""


def test_errors_are_one_sentence_and_a_document() -> None:
    result = run("asset", "list", "--json")
    assert result.returncode == ExitCode.NOT_FOUND
    assert json.loads(result.stdout)["schema"] == "assetforge/error/1"
    assert "Traceback" not in result.stderr


def test_project_list_does_not_import_torch_or_the_database_layer() -> None:
    code = (
        "import sys; sys.argv = ['assetforge', 'project', 'list', '--json']\n"
        "from assetforge.cli import main\n"
        "try: main()\n"
        "except SystemExit as end: assert end.code == 0, end.code\n"
        "heavy = {'torch', 'diffusers', 'sqlmodel', 'sqlalchemy'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    result = run(code=code)
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["schema"] == "assetforge/project-list/1"


def test_a_command_that_answers_and_fails_prints_one_document(capsys) -> None:
    from assetforge.cli import output
    from assetforge.cli.global_options import take_global_options
    from assetforge.errors import JobError

    take_global_options(["--json"])
    output.emit("train", {"state": "failed"}, lambda: None)
    output.report_error(JobError("The run failed."))
    out, err = capsys.readouterr()
    assert json.loads(out)["state"] == "failed"
    assert "The run failed." in err
    take_global_options([])
