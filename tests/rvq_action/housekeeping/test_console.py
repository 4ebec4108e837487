"""What a console script says when something goes wrong."""

from __future__ import annotations

import subprocess
import sys

import pytest

from rvq_action.housekeeping.console import guarded, in_words, kept_if_used, writable_folder


def run(error: BaseException, **options) -> int:
    def command() -> None:
        raise error

    return guarded("rvq-x", ["do", "--it"], "sim", command, **options)


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (ValueError("Too long. Cut it."), 1, "rvq-x do: Too long. Cut it."),
        (KeyError("no 'a'"), 1, "rvq-x do: no 'a'"),
        (FileNotFoundError("There is no x."), 1, "rvq-x do: There is no x."),
        (PermissionError(13, "Permission denied", "/a"), 1, "rvq-x do: /a: Permission denied"),
        (KeyboardInterrupt(), 130, "rvq-x do: interrupted"),
        (
            ModuleNotFoundError("No module named 'av'", name="av"),
            2,
            "rvq-x do: No module named 'av'. Install it: pip install 'rvq-action[sim]'",
        ),
    ],
)
def test_what_a_user_can_mend_is_one_line(error, status, line, capsys):
    assert run(error) == status
    assert capsys.readouterr().err == line + "\n"


@pytest.mark.parametrize(
    "fault", [TypeError("ours"), RuntimeError("ours"), ModuleNotFoundError("x", name="vla.none")]
)
def test_faults_of_ours_keep_their_traceback(fault):
    with pytest.raises(type(fault)):
        run(fault)


def test_a_command_names_further_errors_to_expect(capsys):
    assert run(RuntimeError("no screen"), expected=(RuntimeError,)) == 1
    assert "no screen" in capsys.readouterr().err


def test_success_is_the_status_of_the_command():
    assert [guarded("rvq-x", [], "sim", lambda s=s: s) for s in (None, 0, 3)] == [0, 0, 3]


def test_errors_without_words_are_named():
    assert in_words(ValueError()) == "ValueError"


def test_output_that_nobody_reads_is_no_error():
    code = (
        "import sys; from rvq_action.housekeeping.console import guarded; sys.stdin.read(1); "
        "sys.exit(guarded('rvq-x', [], 'sim', lambda: print('x' * 100_000)))"
    )
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", code], **pipes) as process:
        process.stdout.close()
        process.stdin.write(b"x")
        process.stdin.close()
        assert process.wait(60) == 141
        assert process.stderr.read() == b""


def test_a_folder_is_made(tmp_path):
    assert writable_folder(tmp_path / "a" / "b").is_dir()
    assert writable_folder(str(tmp_path)) == tmp_path and list(tmp_path.iterdir()) != []


@pytest.mark.parametrize(("name", "reason"), [("file", "it is a file"), ("file/x", "directory")])
def test_a_folder_that_cannot_be_is_refused(tmp_path, name, reason):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match=rf"Cannot write into the folder .*{name}: .*{reason}"):
        writable_folder(tmp_path / name)


@pytest.mark.parametrize("used", [True, False])
def test_failed_work_leaves_no_new_empty_folder(tmp_path, used):
    (tmp_path / "old").mkdir()
    with pytest.raises(KeyError), kept_if_used(tmp_path / "old" / "new" / "out") as folder:
        if used:
            (folder / "half").write_text("")
        raise KeyError
    left = [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")]
    whole = ["old", "old/new", "old/new/out", "old/new/out/half"]
    assert sorted(left) == (whole if used else ["old"])
