"""Files and folders that are whole, or not there."""

import subprocess
import sys

import pytest

from hotline_sim.files.new_folder import NewFolder, locked_folder
from hotline_sim.files.whole_file import whole_file


def test_a_file_is_whole_or_as_it_was(tmp_path):
    path = tmp_path / "x"
    path.write_text("old")
    with pytest.raises(RuntimeError), whole_file(path) as file:
        file.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old" and [p.name for p in tmp_path.iterdir()] == ["x"]
    with whole_file(path) as file:
        file.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new" and [p.name for p in tmp_path.iterdir()] == ["x"]


def test_two_processes_do_not_mix_one_file(tmp_path):
    code = f"""
from pathlib import Path
from hotline_sim.files.whole_file import whole_file
with whole_file(Path({str(tmp_path / "x")!r})) as file:
    file.write_text("theirs")
"""
    with whole_file(tmp_path / "x") as file:
        file.write_text("mine")
        subprocess.run([sys.executable, "-c", code], check=True)
        assert (tmp_path / "x").read_text() == "theirs"
    assert (tmp_path / "x").read_text() == "mine"


def test_a_folder_is_one_process_s_at_a_time(tmp_path):
    with locked_folder(tmp_path / "a", "--out"):
        with (
            pytest.raises(ValueError, match="--out .*a: another run is writing there"),
            locked_folder(tmp_path / "a", "--out"),
        ):
            pass
    with locked_folder(tmp_path / "a", "--out"):
        pass


@pytest.mark.parametrize("resume", [False, True])
def test_a_folder_has_its_name_once_it_is_complete(tmp_path, resume):
    with pytest.raises(RuntimeError), NewFolder(tmp_path / "a", "-o", resume=resume) as folder:
        (folder.partial / "begun").touch()
        raise RuntimeError
    assert not (tmp_path / "a").exists() and (tmp_path / "a.partial").exists() == resume
    with NewFolder(tmp_path / "a", "-o", resume=resume) as folder:
        assert (folder.partial / "begun").exists() == resume
        (folder.partial / "done").touch()
        folder.complete()
    assert (tmp_path / "a" / "done").exists() and not (tmp_path / "a.partial").exists()
