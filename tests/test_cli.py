import pytest

from napari_stenhance.cli import main


def test_main_names_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    main()
    assert capsys.readouterr().out.startswith("napari-stenhance ")
