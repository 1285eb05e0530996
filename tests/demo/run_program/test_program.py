"""How ``demo run`` finds programs and the interpreters of scripts."""

from pathlib import Path

import pytest

from three_pillar_demo.run_program.program import (
    NOT_EXECUTABLE,
    NOT_FOUND,
    ProgramError,
    find_program,
    interpreter,
)


def write_program(path: Path, text: str = "", mode: int = 0o755) -> Path:
    """Write a file with the permissions ``mode``, and return its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)
    return path


def test_the_first_program_on_the_path_is_found(tmp_path: Path) -> None:
    """A name is looked up in ``PATH``, in which a file that is not executable is passed over."""
    write_program(tmp_path / "a" / "tool", mode=0o644)
    tool = write_program(tmp_path / "b" / "tool")
    environment = {"PATH": f"{tmp_path / 'a'}:{tmp_path / 'b'}"}
    assert find_program("tool", environment) == tool


@pytest.mark.parametrize("name", ["no-such-tool", "./no-such-tool", "", "/"])
def test_a_command_that_does_not_exist(name: str, tmp_path: Path) -> None:
    """A name without a program gives the exit code of a shell: 127, or 126 for a folder."""
    with pytest.raises(ProgramError) as caught:
        find_program(name, {"PATH": str(tmp_path)})
    assert caught.value.exit_code == (NOT_EXECUTABLE if name == "/" else NOT_FOUND)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_executable(tmp_path: Path) -> None:
    """A file without permission to execute gives the exit code 126, by its path and in ``PATH``."""
    file = write_program(tmp_path / "tool", mode=0o644)
    for name in (str(file), "tool"):
        with pytest.raises(ProgramError, match="not executable") as caught:
            find_program(name, {"PATH": str(tmp_path)})
        assert caught.value.exit_code == NOT_EXECUTABLE


@pytest.mark.parametrize(
    "first_line",
    [
        "#!{python}",
        "#! {python} -u",
        "#!/usr/bin/env python3",
        "#!/usr/bin/env -S python3 -u",
        "#!/usr/bin/env -S A=b python3",
        "#!/bin/sh\n'''exec' \"{python}\" \"$0\" \"$@\"\n' '''",
        "#!/bin/sh\n'''exec' {python} \"$0\" \"$@\"\n' '''",
    ],
)
def test_the_interpreter_of_a_script(first_line: str, tmp_path: Path) -> None:
    """Every form of first lines that pip, uv and people write leads to the interpreter."""
    python = write_program(tmp_path / "bin" / "python3")
    script = write_program(tmp_path / "script", first_line.format(python=python))
    assert interpreter(script, {"PATH": str(python.parent)}) == python


@pytest.mark.parametrize(
    "text", ["", "#!", "#!\n", "#!/usr/bin/env", "#!/no/such/file", "\x7fELF", "#!'''exec' '"]
)
def test_a_file_without_an_interpreter(text: str, tmp_path: Path) -> None:
    """A file that names no interpreter, or one that does not exist, is none of a script's."""
    assert interpreter(write_program(tmp_path / "file", text), {"PATH": "/nowhere"}) is None


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    """A file that is missing has no interpreter, instead of ending the command."""
    assert interpreter(tmp_path / "missing", {}) is None
