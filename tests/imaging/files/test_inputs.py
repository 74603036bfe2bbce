"""From files, folders and patterns to a list of pictures."""

import pytest

from imaging.files import PictureError, PictureNotFoundError, expand_inputs


@pytest.fixture
def folder(tmp_path):
    for name in ("img10.png", "img2.PNG", "img1.jpg", "notes.txt", ".hidden.png", "receipt.json"):
        (tmp_path / name).touch()
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "deep.tif").touch()
    (tmp_path / "folder.png").mkdir()
    return tmp_path


def names(paths):
    return [path.name for path in paths]


def test_a_folder_gives_its_pictures_in_natural_order(folder):
    assert names(expand_inputs([folder])) == ["img1.jpg", "img2.PNG", "img10.png"]


def test_files_come_in_the_order_given_and_once(folder):
    given = [folder / "notes.txt", folder / "img10.png", folder, str(folder / "img1.jpg")]
    assert names(expand_inputs(given)) == ["notes.txt", "img10.png", "img1.jpg", "img2.PNG"]


def test_patterns(folder):
    assert names(expand_inputs([str(folder / "img*")])) == ["img1.jpg", "img2.PNG", "img10.png"]
    assert names(expand_inputs([str(folder / "**" / "*.tif")])) == ["deep.tif"]
    (folder / "odd[1].png").touch()
    assert names(expand_inputs([folder / "odd[1].png"])) == ["odd[1].png"]


def test_refusals(folder, tmp_path_factory):
    with pytest.raises(
        PictureNotFoundError, match=r"the pattern .*\*.bmp matches no picture \(.bmp, .*\): check it"
    ):
        expand_inputs([folder / "*.bmp"])
    with pytest.raises(PictureNotFoundError, match=r"no.png does not exist: check the name"):
        expand_inputs([folder / "img1.jpg", folder / "no.png"])
    with pytest.raises(
        PictureError, match=r"the folder .* holds no picture \(.bmp, .*\): name another folder"
    ):
        expand_inputs([folder / "folder.png"])
    with pytest.raises(PictureError, match="no input was given: name at least one"):
        expand_inputs([])
