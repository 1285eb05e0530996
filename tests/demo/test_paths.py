"""Where the demo finds its checkout, and where it keeps its state."""

from pathlib import Path

import pytest

from three_pillar_demo import paths


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder with what a checkout contains."""
    folder = tmp_path / "checkout"
    (folder / "services" / "checkout").mkdir(parents=True)
    return folder


def test_the_code_of_an_editable_installation_is_the_checkout(checkout: Path) -> None:
    """Without a setting, the folder of the code is the checkout if it is one."""
    assert paths.find_checkout({}, checkout) == checkout
    assert paths.find_checkout({"DEMO_HOME": " "}, checkout) == checkout
    assert paths.find_checkout({}, checkout.parent) is None


def test_demo_home_names_the_checkout(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``DEMO_HOME`` names the checkout, also relative to the working or the home folder."""
    monkeypatch.chdir(checkout.parent)
    monkeypatch.setenv("HOME", str(checkout.parent))
    for value in (str(checkout), "checkout", "~/checkout"):
        assert paths.find_checkout({"DEMO_HOME": value}, Path("/")) == checkout
    # A wrong value is not replaced by the folder of the code.
    assert paths.find_checkout({"DEMO_HOME": "/no/such/folder"}, checkout) is None


def test_the_state_folder(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``DEMO_STATE`` wins over the checkout, and the user's state folder is the last choice."""
    monkeypatch.chdir(checkout.parent)
    monkeypatch.setenv("XDG_STATE_HOME", "/home/user/states")
    expected = checkout.parent / "state"
    assert paths.find_state({"DEMO_STATE": "state"}, checkout) == expected
    assert paths.find_state({"DEMO_STATE": " "}, checkout) == checkout / ".demo"
    assert paths.find_state({}, None) == Path("/home/user/states/three-pillar-demo")


def test_the_state_folder_is_private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A new state folder can be read by its owner alone; an existing one is left as it is."""
    monkeypatch.setattr(paths, "STATE", tmp_path / "a" / "b")
    paths.create_state_folder()
    assert (tmp_path / "a" / "b").stat().st_mode & 0o777 == 0o700
    paths.STATE.chmod(0o750)
    paths.create_state_folder()
    assert paths.STATE.stat().st_mode & 0o777 == 0o750


@pytest.mark.parametrize(
    ("home", "reason"), [("", "set DEMO_HOME to its folder"), ("/nowhere", "DEMO_HOME=/nowhere")]
)
def test_a_command_without_its_checkout(
    home: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A command that needs the checkout is refused in one line, which says what to set."""
    monkeypatch.setattr(paths, "CHECKOUT", None)
    monkeypatch.setenv("DEMO_HOME", home)
    with pytest.raises(paths.NoCheckoutError, match="`demo up` needs a clone") as caught:
        paths.require_checkout("up")
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)
