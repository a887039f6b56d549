"""Pictures from folders and zips; the bad ones are skipped and counted."""

import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest
from kinemacolor.export import film
from kinemacolor.export.data import Batches, Pictures, Shape, crop, to_lab
from kinemacolor.export.errors import BadPicture, DataError
from skimage import color


def make_folder(path: Path, count: int = 6) -> Path:
    """Writes small pictures of one strong colour each."""
    path.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(0)
    for i in range(count):
        picture = np.full((40, 56, 3), random.integers(0, 256, 3), np.uint8)
        picture[10:30, 10:30] //= 2
        cv2.imwrite(str(path / f"{i}.png"), picture)
    return path


def make_zip(path: Path, folder: Path) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.iterdir()):
            archive.write(file, file.name)
        archive.writestr("readme.txt", "not a picture")
    return path


def test_zip_and_folder_hold_the_same_pictures(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "a")
    pictures = Pictures([folder, make_zip(tmp_path / "a.zip", folder)])
    assert len(pictures) == 12
    for i in range(6):
        assert np.array_equal(pictures.read(i), pictures.read(i + 6))
    pictures.close()


def test_missing_empty_and_broken_sources_are_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere"):
        Pictures([tmp_path / "nowhere"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no pictures in"):
        Pictures([tmp_path / "empty"])
    (tmp_path / "fake.zip").write_bytes(b"PK but not really")
    with pytest.raises(DataError, match="neither a folder nor a readable zip"):
        Pictures([tmp_path / "fake.zip"])


def test_damaged_and_encrypted_entries_of_a_zip_are_skipped(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("a.png", "b.png", "c.png"):
            archive.writestr(name, bytes(range(256)) * 8)
        entries = archive.infolist()
    data = bytearray(path.read_bytes())
    damaged, encrypted, packed = entries
    start = damaged.header_offset + 30 + len("a.png")
    data[start : start + 4] = b"\xff" * 4  # no block of deflate begins like that
    central = [i for i in range(len(data)) if data[i : i + 4] == b"PK\x01\x02"]
    data[central[1] + 8] |= 1  # the flag of an encrypted entry
    data[encrypted.header_offset + 6] |= 1
    data[central[2] + 10] = data[packed.header_offset + 8] = 97  # a way of packing yet to come
    path.write_bytes(data)
    pictures = Pictures([path])
    for i in range(3):
        with pytest.raises(BadPicture, match="does not decode"):
            pictures.read(i)
    assert len(pictures.skipped) == 3


def test_a_corrupt_picture_is_skipped_and_counted(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "a")
    (folder / "0.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    (folder / "1.png").write_bytes(b"")
    pictures = Pictures([folder])
    for i in (0, 1):
        with pytest.raises(BadPicture):
            pictures.read(i)
    assert len(pictures.skipped) == 2
    with Batches(pictures, [Shape(16, 16, 12, 4)]) as batches:
        L, _ = batches.make(0)
    assert len(L) == 12


def test_only_corrupt_pictures_stop_training(tmp_path: Path) -> None:
    (tmp_path / "0.png").write_bytes(b"broken")
    with (
        Batches(Pictures([tmp_path]), [Shape(16, 16, 4, 4)]) as batches,
        pytest.raises(DataError, match="most pictures do not decode"),
    ):
        next(batches.from_step(0))


def test_batches_depend_on_seed_and_step_alone(tmp_path: Path) -> None:
    """A resumed run must see what the uninterrupted one would have seen."""
    pictures = Pictures([make_folder(tmp_path)])
    shapes = [Shape(16, 16, 3, 4), Shape(32, 32, 2, 4)]
    with Batches(pictures, shapes) as first:
        run = first.from_step(0)
        whole = [next(run) for _ in range(6)]
    with Batches(pictures, shapes) as second:
        run = second.from_step(3)
        resumed = [next(run) for _ in range(3)]
    for (L1, ab1), (L2, ab2) in zip(whole[3:], resumed, strict=True):
        assert np.array_equal(L1, L2)
        assert np.array_equal(ab1, ab2)


def test_a_batch_holds_lightness_and_color_of_the_same_crop(tmp_path: Path) -> None:
    pictures = Pictures([make_folder(tmp_path, 1)])
    with Batches(pictures, [Shape(32, 32, 4, 4)], film_share=0.0) as batches:
        L, ab = batches.make(1)
    assert L.shape == (4, 1, 32, 32)
    assert ab.shape == (4, 2, 8, 8)
    lab = color.rgb2lab(pictures.read(0)[..., ::-1])
    # Cubic interpolation goes a little beyond the values it is given.
    assert float(L.max()) == pytest.approx(lab[..., 0].max(), abs=4)
    assert float(ab[:, 0].abs().max()) == pytest.approx(np.abs(lab[..., 1]).max(), abs=4)


def test_lab_agrees_with_scikit_image() -> None:
    bgr = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)
    # OpenCV reads its gamma and cube root from tables: off by up to 0.3, far below a bin's 10.
    assert np.abs(to_lab(bgr) - color.rgb2lab(bgr[..., ::-1])).max() < 0.4


def test_crops_stay_inside_small_and_narrow_pictures() -> None:
    random = np.random.default_rng(0)
    for shape in ((8, 8), (8, 300), (300, 8), (41, 33)):
        for _ in range(20):
            part = crop(np.zeros((*shape, 3), np.uint8), 64, 32, random)
            assert part.shape == (32, 64, 3)


@pytest.mark.parametrize("size", [(96, 96), (128, 64), (64, 128)])
def test_crops_squeeze_things_by_a_fifth_at_most(size: tuple[int, int]) -> None:
    """A picture of ramps: how steep they are afterwards says how much each side was enlarged."""
    picture = np.zeros((160, 240, 3), np.uint8)
    picture[..., 0] = np.arange(240)
    picture[..., 1] = np.arange(160)[:, None]
    random = np.random.default_rng(0)
    shares = []
    for _ in range(40):
        part = crop(picture, *size, random).astype(np.float32)
        across = np.abs(np.diff(part[20:-20, 20:-20, 0], axis=1)).mean()
        down = np.abs(np.diff(part[20:-20, 20:-20, 1], axis=0)).mean()
        assert 0.78 < across / down < 1.28
        shares.append(across * size[0] * down * size[1])
    aspect = size[0] / size[1]
    largest = min(240, 160 * aspect) ** 2 / aspect
    assert min(shares) > 0.3 * largest
    assert max(shares) > 0.8 * largest


def test_pictures_without_color_are_left_out(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "data", 2)
    first, second = sorted(folder.glob("*.png"))
    grey = cv2.imread(str(first), cv2.IMREAD_GRAYSCALE)
    assert grey is not None
    cv2.imwrite(str(first), grey)
    with Batches(Pictures([folder]), [Shape(16, 16, 12)]) as batches:
        _, ab = batches.make(0)
    assert float(ab.abs().mean((1, 2, 3)).min()) > 1
    second.unlink()
    with Batches(Pictures([folder]), [Shape(16, 16, 12)]) as batches:  # there is nothing else
        _, ab = batches.make(0)
    assert float(ab.abs().max()) < 0.1


def test_aged_lightness_is_lightness() -> None:
    random = np.random.default_rng(0)
    bgr = random.integers(0, 256, (24, 24, 3), np.uint8)
    L = np.ascontiguousarray(to_lab(bgr)[..., 0])
    changed = 0
    for _ in range(40):
        aged = film.age(bgr, L, random)
        assert aged.shape == L.shape
        assert aged.dtype == np.float32
        assert aged.min() >= 0
        assert aged.max() <= 100
        changed += not np.allclose(aged, L)
    assert changed > 30


def test_wear_is_a_few_lines_and_specks() -> None:
    random = np.random.default_rng(0)
    shares = [np.count_nonzero(film._wear((96, 96), random)) / 96**2 for _ in range(30)]
    assert max(shares) < 0.08
    assert np.mean(np.array(shares) > 0) > 0.8


def test_uneven_light_is_smooth_and_keeps_the_exposure() -> None:
    random = np.random.default_rng(0)
    for _ in range(10):
        light = film._uneven_light((64, 96), random)
        assert light.shape == (64, 96)
        assert 0.6 < light.min() < light.max() < 1.4
        assert np.abs(np.diff(light, axis=0)).max() < 0.05


def test_orthochromatic_film_sees_red_dark_and_blue_bright() -> None:
    random = np.random.default_rng(0)
    picture = np.zeros((1, 3, 3), np.uint8)
    picture[0, 0], picture[0, 1], picture[0, 2] = (0, 0, 200), (200, 0, 0), (0, 200, 0)
    true = to_lab(picture)[0, :, 0]
    for _ in range(10):
        red, blue, _ = film._orthochromatic(picture, random)[0]
        assert red < true[0]
        assert blue > true[1]
