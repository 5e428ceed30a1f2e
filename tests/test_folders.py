"""Folders of pictures: every kind of picture comes out right, and what is none is named and skipped."""

import io
import os
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageOps

from depict_jax.data import Reading, cache, folders, images, load, stream

GREY = np.random.default_rng(0).integers(256, size=(6, 8, 10), dtype=np.uint8)
COLOUR = np.random.default_rng(1).integers(256, size=(8, 10, 3), dtype=np.uint8)


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    """Not the user's."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setattr(cache, "user_cache_path", lambda name: folder)
    return folder


@pytest.fixture
def folder(tmp_path):
    found = tmp_path / "pictures"
    found.mkdir()
    return found


def png(array, path, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path, **options)


def chunk(kind, data):
    return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")


def only(folder, **reading):
    """The pixels of a folder's one picture."""
    found = load(folder, Reading(**reading))
    assert len(found.pixels) == 1, found.skipped
    return found.pixels[0]


@pytest.mark.parametrize("ending", ["png", "pgm", "bmp", "tif", "gif", "webp"])
def test_grey_pictures_come_back_pixel_by_pixel_in_the_order_of_their_names(ending, folder):
    for number, image in enumerate(GREY):
        options = {"lossless": True} if ending == "webp" else {}
        png(image, folder / f"{5 - number}.{ending}", **options)
    found = load(folder)
    np.testing.assert_array_equal(found.pixels, GREY[::-1, ..., None])
    assert found.names == tuple(f"{n}.{ending}" for n in range(6))
    assert found.labels is None and not found.skipped
    assert found.pixels.dtype == np.uint8 and not found.pixels.flags.writeable


def test_one_picture_in_colour_makes_all_rgb(folder):
    for number, image in enumerate(GREY):
        png(image, folder / f"{number}.png")
    png(COLOUR, folder / "3b.png")
    found = load(folder)
    assert found.pixels.shape == (7, 8, 10, 3)
    np.testing.assert_array_equal(found.pixels[4], COLOUR)
    np.testing.assert_array_equal(found.pixels[0], np.repeat(GREY[0, ..., None], 3, axis=-1))
    np.testing.assert_array_equal(found.pixels[5], np.repeat(GREY[4, ..., None], 3, axis=-1))
    assert load(folder, Reading(colour="grey")).pixels.shape == (7, 8, 10, 1)


def test_pictures_turned_by_exif_come_out_upright(folder):
    upright = GREY[0]
    turned = {3: np.rot90(upright, 2), 6: np.rot90(upright, 1), 8: np.rot90(upright, -1)}
    for orientation, array in turned.items():
        exif = Image.Exif()
        exif[0x0112] = orientation
        png(np.ascontiguousarray(array), folder / f"{orientation}.png", exif=exif)
    found = load(folder)
    np.testing.assert_array_equal(found.pixels, np.repeat(upright[None, ..., None], 3, axis=0))


def test_sixteen_bits_keep_the_upper_eight(folder):
    levels = np.random.default_rng(2).integers(2**16, size=(8, 10), dtype=np.uint16)
    png(levels, folder / "a.png")
    np.testing.assert_array_equal(only(folder)[..., 0], levels >> 8)


def test_what_is_transparent_shows_white(folder):
    image = np.dstack([COLOUR, np.full((8, 10), 255, np.uint8)])
    image[:4, :, 3] = 0
    png(image, folder / "a.png")
    found = only(folder)
    np.testing.assert_array_equal(found[4:], COLOUR[4:])
    assert (found[:4] == 255).all()


def test_cmyk_palette_and_two_levels(folder):
    flat = np.full((8, 10, 3), (200, 30, 90), np.uint8)
    Image.fromarray(flat).convert("CMYK").save(folder / "a.jpg", quality=100)
    Image.fromarray(flat).convert("P", palette=Image.Palette.ADAPTIVE).save(folder / "b.png")
    Image.fromarray(np.where(GREY[0] > 127, 255, 0).astype(np.uint8)).convert("1").save(folder / "c.png")
    found = load(folder).pixels.astype(int)
    assert np.abs(found[0] - flat).max() <= 6  # JPEG
    assert np.abs(found[1] - flat).max() <= 1
    np.testing.assert_array_equal(found[2][..., 0], np.where(GREY[0] > 127, 255, 0))


def test_of_an_animation_the_first_picture_counts(folder):
    first, *rest = [Image.fromarray(image) for image in GREY]
    first.save(folder / "a.gif", save_all=True, append_images=rest)
    np.testing.assert_array_equal(only(folder)[..., 0], GREY[0])


def test_other_sizes_are_padded_or_cropped_and_keep_their_aspect(folder):
    wide = np.zeros((10, 20), np.uint8)
    wide[:, 5:15] = 200  # the middle square
    png(wide, folder / "a.png")
    cropped = only(folder, image_size=(10,), fit="crop")
    assert cropped.shape == (10, 10, 1) and (cropped == 200).all()
    padded = only(folder, image_size=(20,))
    assert (padded[:5] == 0).all() and (padded[15:] == 0).all()
    np.testing.assert_array_equal(padded[5:15, :, 0], wide)
    assert only(folder, image_size=(12, 30)).shape == (12, 30, 1)


def test_sizes_without_one_in_common_are_brought_to_the_default_and_told(folder):
    png(GREY[0], folder / "a.png")
    png(GREY[0, :, :8].copy(), folder / "b.png")
    found = load(folder)
    assert found.pixels.shape[1:3] == folders.DEFAULT_SIZE
    assert any("2 different sizes" in note and "--image-size" in note for note in found.notes)


def test_subfolders_are_labels_only_when_asked(folder):
    for number, image in enumerate(GREY):
        png(image, folder / ("cat" if number % 2 else "dog") / "deep" / f"{number}.png")
    assert load(folder).labels is None
    found = load(folder, Reading(labels_from_folders=True))
    assert found.labels.tolist() == ["cat"] * 3 + ["dog"] * 3
    assert found.names[0] == "cat/deep/1.png"
    png(GREY[0], folder / "stray.png")
    with pytest.raises(ValueError, match=r"stray.png lies in no subfolder"):
        load(folder, Reading(labels_from_folders=True))


def junk(folder):
    """One good picture and a file of every bad kind."""
    png(GREY[0], folder / "good.png")
    (folder / "empty.png").write_bytes(b"")
    (folder / "notes.txt").write_text("not a picture")
    whole = io.BytesIO()
    Image.fromarray(COLOUR).resize((100, 100)).save(whole, "JPEG")
    (folder / "cut.jpg").write_bytes(whole.getvalue()[:600])
    header = (30_000).to_bytes(4, "big") * 2 + bytes([8, 0, 0, 0, 0])
    bomb = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")
    (folder / "bomb.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bomb)
    (folder / "floats.tif").write_bytes(b"")
    Image.fromarray(GREY[0].astype(np.float32)).save(folder / "floats.tif")
    (folder / ".hidden.png").write_bytes(b"hidden")


def test_junk_is_skipped_and_named_with_its_reason(folder):
    junk(folder)
    found = load(folder)
    assert found.names == ("good.png",)
    reasons = {entry.name: entry.reason for entry in found.skipped}
    assert set(reasons) == {"empty.png", "notes.txt", "cut.jpg", "bomb.png", "floats.tif"}
    assert reasons["notes.txt"] == reasons["empty.png"] == "not a picture"
    assert "truncated" in reasons["cut.jpg"].lower() and "bomb" in reasons["bomb.png"]
    assert "8 or 16 bits" in reasons["floats.tif"]


@pytest.mark.parametrize("bad", ["empty.png", "notes.txt", "cut.jpg", "bomb.png", "floats.tif"])
def test_strict_stops_at_what_is_no_picture(bad, folder, tmp_path):
    junk(tmp_path / "pictures")
    for path in list(folder.iterdir()):
        if path.name not in (bad, "good.png"):
            path.unlink()
    with pytest.raises(ValueError, match=rf"{bad} is .*leave out --strict"):
        load(folder, Reading(strict=True))


def test_a_folder_without_pictures_is_refused(folder):
    with pytest.raises(ValueError, match="holds no files: expected pictures"):
        load(folder)
    (folder / "notes.txt").write_text("nothing")
    with pytest.raises(ValueError, match=r"holds no picture that can be read: notes.txt is not a picture"):
        load(folder)


@pytest.mark.skipif(not hasattr(os, "symlink") or os.name == "nt", reason="needs symbolic links")
def test_links_are_not_followed_out_of_the_folder_or_in_circles(folder, tmp_path):
    png(GREY[0], folder / "sub" / "good.png")
    png(GREY[1], tmp_path / "outside" / "secret.png")
    (folder / "out").symlink_to(tmp_path / "outside")
    (folder / "secret.png").symlink_to(tmp_path / "outside" / "secret.png")
    (folder / "sub" / "loop").symlink_to(folder)
    (folder / "self").symlink_to(folder / "self")
    (folder / "gone.png").symlink_to(folder / "nothing.png")
    found = load(folder)
    assert found.names == ("sub/good.png",)
    assert {entry.name: entry.reason for entry in found.skipped} == {
        "out": "a link that leads out of the folder",
        "secret.png": "a link that leads out of the folder",
        "self": "a link that leads nowhere",
        "gone.png": "a link that leads nowhere",
    }
    assert found.notes[0].startswith("1 link(s) to what lies in the folder itself")


def test_the_second_reading_decodes_nothing_and_a_change_decodes_anew(folder, monkeypatch):
    for number, image in enumerate(GREY):
        png(image, folder / f"{number}.png")
    first = load(folder)
    with monkeypatch.context() as patched:
        patched.setattr(folders, "_picture", lambda *_: pytest.fail("decoded again"))
        second = load(folder)
        np.testing.assert_array_equal(second.pixels, first.pixels)
        assert (second.names, second.content_hash) == (first.names, first.content_hash)
    before = (folder / "0.png").stat()
    png(GREY[5], folder / "0.png")
    os.utime(folder / "0.png", ns=(before.st_atime_ns, before.st_mtime_ns))  # as rsync and tar do
    np.testing.assert_array_equal(load(folder).pixels[0, ..., 0], GREY[5])
    assert load(folder, Reading(image_size=(4,))).pixels.shape == (6, 4, 4, 1)


def test_an_interrupted_reading_leaves_nothing_that_looks_like_a_cache(folder, own_cache, monkeypatch):
    for number, image in enumerate(GREY):
        png(image, folder / f"{number}.png")
    whole, calls = folders._picture, []

    def stop(*arguments):
        calls.append(arguments)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return whole(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr(folders, "_picture", stop)
        with pytest.raises(KeyboardInterrupt):
            load(folder)
    assert not list((own_cache / "pictures").iterdir())
    np.testing.assert_array_equal(load(folder).pixels[..., 0], GREY)


def test_a_damaged_cache_is_made_anew(folder, own_cache):
    png(GREY[0], folder / "a.png")
    load(folder)
    (pixels,) = own_cache.rglob("pixels.npy")
    pixels.write_bytes(b"damaged")
    np.testing.assert_array_equal(only(folder)[..., 0], GREY[0])


def test_a_stream_gives_what_load_gives(folder, monkeypatch):
    monkeypatch.setattr(images, "PIECE", 4)
    for number, image in enumerate(GREY):
        png(image, folder / f"{number}.png")
    found = stream(folder)
    pieces = list(found)
    assert [len(piece) for piece in pieces] == [4, 2]
    np.testing.assert_array_equal(np.concatenate(pieces), load(folder).pixels)
    assert found.names == load(folder).names


def test_real_faces_as_pgm_files_are_the_set_they_came_from(real_data, folder):
    whole = load(real_data("cmu_pie_32x32.npz"))
    for number in range(0, len(whole.pixels), 20):
        png(whole.pixels[number, ..., 0], folder / str(whole.labels[number]) / f"{number:05}.pgm")
    found = load(folder, Reading(labels_from_folders=True))
    numbers = [int(Path(name).stem) for name in found.names]
    np.testing.assert_array_equal(found.pixels, whole.pixels[numbers])
    assert found.labels.tolist() == [str(whole.labels[number]) for number in numbers]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photo_on_its_side_has_the_size_it_shows(orientation, folder):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    png(COLOUR, folder / "a.jpg", exif=exif)
    with Image.open(folder / "a.jpg") as stored:
        upright = np.asarray(ImageOps.exif_transpose(stored))
    assert upright.shape == ((10, 8, 3) if orientation >= 5 else (8, 10, 3))
    np.testing.assert_array_equal(only(folder), upright)


def test_a_large_jpeg_is_close_to_what_it_shows(folder):
    """It is decoded at a fraction of its size: the result must be the picture all the same."""
    y, x = np.mgrid[:1600, :1600] / 1600
    picture = (127 + 120 * np.sin(6 * x) * np.cos(5 * y)).astype(np.uint8)
    png(picture, folder / "a.jpg", quality=95)
    expected = np.asarray(Image.fromarray(picture).resize((32, 32)), int)
    assert np.abs(only(folder, image_size=(32,))[..., 0] - expected).max() <= 3


@pytest.mark.parametrize(("height", "width"), [(20, 40), (40, 20), (300, 1), (1, 300)])
@pytest.mark.parametrize("size", [(16, 16), (8, 24)])
def test_a_padded_picture_is_in_the_middle_and_never_vanishes(height, width, size, folder):
    png(np.full((height, width), 200, np.uint8), folder / "a.png")
    padded = only(folder, image_size=size)[..., 0]
    scale = min(size[0] / height, size[1] / width)
    assert padded.shape == size and set(np.unique(padded)) <= {0, 200}
    rows, columns = np.nonzero(padded)
    assert np.ptp(rows) + 1 == max(1, round(height * scale)) and np.ptp(columns) + 1 == max(1, round(width * scale))
    assert abs(size[0] - 1 - rows.min() - rows.max()) <= 1 and abs(size[1] - 1 - columns.min() - columns.max()) <= 1
    assert (only(folder, image_size=size, fit="crop") == 200).all()


def test_photos_are_not_left_at_thousands_of_pixels(folder):
    png(np.zeros((600, 20), np.uint8), folder / "a.png")
    found = load(folder)
    assert found.pixels.shape[1:3] == folders.DEFAULT_SIZE
    assert any(note.startswith("all are 600 x 20: brought to") for note in found.notes)


def test_grey_in_three_channels_is_grey_unless_forced(folder):
    png(GREY[0, ..., None].repeat(3, axis=-1), folder / "a.png")
    np.testing.assert_array_equal(only(folder), GREY[0, ..., None])
    np.testing.assert_array_equal(only(folder, colour="rgb"), GREY[0, ..., None].repeat(3, axis=-1))


def test_the_grey_ones_so_far_are_widened_in_pieces(folder, monkeypatch):
    monkeypatch.setattr(images, "PIECE", 2)
    for number, image in enumerate(GREY):
        png(image, folder / f"{number}.png")
    png(COLOUR, folder / "last.png")
    found = load(folder).pixels
    np.testing.assert_array_equal(found[:6], GREY[..., None].repeat(3, axis=-1))
    np.testing.assert_array_equal(found[6], COLOUR)


def test_a_transparent_colour_of_a_palette_shows_white(folder):
    levels = GREY[0] // 64
    picture = Image.fromarray(levels, "P")
    picture.putpalette([0, 0, 0, 250, 10, 10, 10, 250, 10, 10, 10, 250])
    picture.save(folder / "a.png", transparency=0)
    found = only(folder)
    assert (found[levels == 0] == 255).all() and (found[levels == 1] == (250, 10, 10)).all()


def test_pipes_postscript_and_half_bombs_are_skipped(folder):
    """A pipe would be waited for, PostScript be run; at 100 million pixels Pillow itself would only warn."""
    png(GREY[0], folder / "good.png")
    os.mkfifo(folder / "pipe.png")
    (folder / "run.eps").write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n")
    header = (10_000).to_bytes(4, "big") * 2 + bytes([8, 0, 0, 0, 0])
    large = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")
    (folder / "large.png").write_bytes(b"\x89PNG\r\n\x1a\n" + large)
    Image.fromarray(GREY[0].astype(np.int32) * 2**16).save(folder / "wide.tif")
    found = load(folder)
    assert found.names == ("good.png",)
    reasons = {entry.name: entry.reason for entry in found.skipped}
    assert set(reasons) == {"pipe.png", "run.eps", "large.png", "wide.tif"}
    assert reasons["pipe.png"] == "a device or a pipe" and reasons["run.eps"] == "not a picture"
    assert "decompression bomb" in reasons["large.png"] and "8 or 16 bits" in reasons["wide.tif"]


def test_strict_stops_at_what_the_cache_knows_to_be_none(folder):
    junk(folder)
    load(folder)
    with pytest.raises(ValueError, match=r"bomb.png is .*leave out --strict"):
        load(folder, Reading(strict=True))


def test_a_name_that_is_no_text_is_read_and_can_be_written(folder):
    png(GREY[0], folder / "a.png")
    os.rename(folder / "a.png", os.fsencode(folder) + b"/b\xff.png")
    found = load(folder)
    assert found.names == ("b\\xff.png",)
    np.testing.assert_array_equal(found.pixels[0, ..., 0], GREY[0])


def test_equal_folders_in_two_places_have_a_cache_each():
    files = [folders.File("a.png", 10, 1, 1)]
    keys = {folders._key(Path(root), files, Reading()) for root in ("/a", "/b", "/a")}
    assert len(keys) == 2


@pytest.mark.parametrize("name", [cache.PIXELS, cache.ABOUT])
def test_a_cache_with_a_file_lost_is_made_anew(name, folder, own_cache):
    png(GREY[0], folder / "a.png")
    load(folder)
    (lost,) = own_cache.rglob(name)
    lost.unlink()
    np.testing.assert_array_equal(only(folder)[..., 0], GREY[0])
    assert lost.exists() and len(list((own_cache / "pictures").iterdir())) == 1


def test_a_cache_that_cannot_be_written_is_named(folder, own_cache):
    png(GREY[0], folder / "a.png")
    (own_cache / "pictures").write_text("in the way")
    with pytest.raises(ValueError, match=r"pictures cannot be kept in .*make room there"):
        load(folder)


def test_two_at_once_share_what_the_faster_made(folder, own_cache, monkeypatch):
    png(GREY[0], folder / "a.png")
    whole = cache.Writer.finish

    def finish(self, about):
        monkeypatch.setattr(cache.Writer, "finish", whole)
        np.testing.assert_array_equal(load(folder).pixels[0, ..., 0], GREY[0])  # another process, done before
        whole(self, about)

    monkeypatch.setattr(cache.Writer, "finish", finish)
    np.testing.assert_array_equal(only(folder)[..., 0], GREY[0])
    assert len(list((own_cache / "pictures").iterdir())) == 1
