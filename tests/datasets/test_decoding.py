from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageOps

from ganzoo.datasets import decoding
from ganzoo.datasets.decoding import decode, look_at, resized
from ganzoo.datasets.formats import ImageStats, OutputFormat, PictureError, RequestedFormat
from ganzoo.datasets.placing import arranged


def ramp(height: int, width: int, channels: int = 3) -> np.ndarray:
    """Smooth, different in each channel, and without any symmetry."""
    rows, columns = np.mgrid[:height, :width]
    layers = [
        rows * 200 // height + 20,
        columns * 180 // width + 9,
        (rows + columns) * 90 // (height + width),
        columns * 250 // width,
    ]
    return np.stack(layers[:channels], axis=-1).astype(np.uint8)


def encoded(image: Image.Image | np.ndarray, kind: str = "PNG", **options: object) -> bytes:
    if isinstance(image, np.ndarray):
        image = Image.fromarray(image[..., 0] if image.shape[-1:] == (1,) else image)
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def whole(data: bytes) -> tuple[np.ndarray, ImageStats]:
    """A picture in its own size and channels, and what was seen in it."""
    facts = look_at(data)
    channels = 4 if not facts.any_opaque else 3 if facts.colour else 1
    own = OutputFormat(channels, facts.low, False, deep=bool(facts.deep), bounds=(0.0, 65535.0))
    pixels, same = decode(data, own)
    assert same == facts
    return pixels, facts


def plain(data: bytes, look: OutputFormat | None = None) -> np.ndarray:
    """What ``decode`` makes of it, with the channels last."""
    return (whole(data) if look is None else decode(data, look))[0].transpose(1, 2, 0)


def look(*size: int, channels: int = 3, stretch: bool = False) -> OutputFormat:
    return OutputFormat(channels=channels, size=size, stretch=stretch)


# -- formats and modes ------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["PNG", "BMP", "DIB", "TIFF", "PPM", "GIF", "WEBP"])
@pytest.mark.parametrize("channels", [1, 3])
def test_formats(kind: str, channels: int) -> None:
    picture = ramp(20, 31, channels)
    data = encoded(picture, kind, **({"lossless": True} if kind == "WEBP" else {}))
    pixels, facts = whole(data)
    if kind == "GIF" and channels == 3:  # 256 colours of more
        assert np.abs(pixels.transpose(1, 2, 0).astype(int) - picture).mean() < 9
    elif kind == "WEBP" and channels == 1:  # has no greyscale
        assert np.array_equal(pixels, np.repeat(picture.transpose(2, 0, 1), 3, 0))
    else:
        assert np.array_equal(pixels.transpose(1, 2, 0), picture)
    assert facts.low == facts.high == (20, 31) and facts.any_opaque and not facts.any_transparent
    assert facts.colour is (channels == 3 or kind == "WEBP")


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    "options",
    [{}, {"quality": 30}, {"quality": 98, "subsampling": 0}, {"progressive": True}],
)
def test_the_short_way_for_jpegs_gives_what_pillow_gives(channels, options) -> None:
    data = encoded(ramp(37, 50, channels), "JPEG", **options)
    assert decoding._plain_jpeg(data) == (37, 50, channels)
    quick, facts = whole(data)
    slow, same = decoding._opened(data, None)
    assert np.array_equal(quick.transpose(1, 2, 0).squeeze(), np.asarray(slow))
    assert facts == same


def test_without_torchvisions_decoder_pillow_takes_over(monkeypatch: pytest.MonkeyPatch) -> None:
    data = encoded(ramp(9, 12), "JPEG")
    quick = plain(data)
    monkeypatch.setattr(decoding, "_jpeg_operator", lambda: None)
    assert np.array_equal(plain(data), quick)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bits_are_neither_scaled_nor_clipped(kind: str) -> None:
    wanted = np.arange(256, dtype=np.uint16).reshape(16, 16)
    pixels, facts = whole(encoded(Image.fromarray(wanted * 257), kind))
    assert np.array_equal(pixels[0], wanted * 257.0) and not facts.colour


def test_big_endian_sixteen_bits() -> None:
    values = np.array([[0, 257 * 77, 65535]], ">u2")
    header = b"P5 3 1 65535\n"
    assert whole(header + values.tobytes())[0].tolist() == [[[0, 257 * 77, 65535]]]


def test_sixteen_bits_in_colour() -> None:
    def chunk(name: bytes, content: bytes) -> bytes:
        checked = zlib.crc32(name + content)
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", checked)

    row = b"\0" + struct.pack(">6H", 0, 256 * 7, 65535, 256 * 9 + 3, 1, 256)
    data = (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", 2, 1, 16, 2, 0, 0, 0))
        + chunk(b"IDAT", zlib.compress(row))
        + chunk(b"IEND", b"")
    )
    assert plain(data).tolist() == [[[0, 256 * 7, 65535], [256 * 9 + 3, 1, 256]]]


def test_floats() -> None:
    data = encoded(Image.fromarray(np.array([[0, 0.5, 1]], np.float32)), "TIFF")
    assert whole(data)[0].tolist() == [[[0, 0.5, 1]]]
    data = encoded(Image.fromarray(np.array([[0, np.nan]], np.float32)), "TIFF")
    with pytest.raises(PictureError, match="1 NaN or infinite value"):
        look_at(data)


def test_one_bit() -> None:
    image = Image.fromarray(np.array([[0, 255, 0]], np.uint8)).convert("1")
    assert whole(encoded(image))[0].tolist() == [[[0, 255, 0]]]


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_cmyk_becomes_rgb(kind: str) -> None:
    image = Image.fromarray(ramp(16, 16)).convert("CMYK")
    pixels, facts = whole(encoded(image, kind))
    assert pixels.shape == (3, 16, 16) and facts.colour
    assert np.abs(pixels.transpose(1, 2, 0).astype(int) - ramp(16, 16)).max() < 40


def test_palettes() -> None:
    grey = Image.fromarray(ramp(8, 8, 1)[..., 0]).convert("P")
    assert not whole(encoded(grey))[1].colour
    coloured = Image.fromarray(ramp(8, 8)).quantize(16)
    pixels, facts = whole(encoded(coloured))
    assert facts.colour and facts.any_opaque
    assert np.array_equal(pixels.transpose(1, 2, 0), np.asarray(coloured.convert("RGB")))
    pixels, facts = whole(encoded(coloured, transparency=0))
    assert pixels.shape[0] == 4 and facts.any_transparent and not facts.any_opaque
    assert set(np.unique(pixels[3])) == {0, 255}


@pytest.mark.parametrize(
    ("mode", "value", "colour", "clear"),
    [
        ("RGBA", (9, 8, 7, 255), True, False),
        ("RGBA", (9, 8, 7, 254), True, True),
        ("LA", (9, 255), False, False),
        ("LA", (9, 0), False, True),
    ],
)
def test_alpha(mode, value, colour, clear) -> None:
    _, facts = whole(encoded(Image.new(mode, (4, 4), value)))
    assert facts == ImageStats(
        (4, 4), (4, 4), colour=colour, any_opaque=False, any_transparent=clear
    )


@pytest.mark.parametrize(("mode", "key"), [("RGB", (1, 2, 3)), ("L", 7)])
def test_a_transparent_colour(mode, key) -> None:
    image = Image.new(mode, (2, 1), key)
    image.putpixel((1, 0), (200, 200, 200) if mode == "RGB" else 200)
    pixels, facts = whole(encoded(image, transparency=key))
    assert pixels[3].tolist() == [[0, 255]] and facts.any_transparent


def test_what_is_transparent_is_put_on_white() -> None:
    image = Image.new("RGBA", (2, 2), (0, 0, 0, 0))
    image.putpixel((0, 0), (200, 0, 0, 255))
    image.putpixel((1, 0), (0, 0, 0, 128))
    assert plain(encoded(image), look(2, 2)).tolist() == [
        [[200, 0, 0], [127, 127, 127]],
        [[255, 255, 255], [255, 255, 255]],
    ]
    grey = plain(encoded(image), look(2, 2, channels=1))[..., 0]
    assert grey[1].tolist() == [255, 255] and grey[0, 0] == 60
    assert plain(encoded(image), look(2, 2, channels=4))[0, 0].tolist() == [200, 0, 0, 255]


def test_hidden_colours_do_not_bleed_when_resized() -> None:
    pixels = np.zeros((8, 8, 4), np.uint8)
    pixels[:, :4] = (255, 0, 0, 0)  # an invisible red
    pixels[:, 4:] = (0, 0, 255, 255)
    small = plain(encoded(pixels), look(3, 3, channels=4))
    assert small[:, 1, 0].max() == 0 and small[:, 1, 3].max() > 0


@pytest.mark.parametrize(
    ("mode", "channels"), [("L", 3), ("L", 4), ("RGB", 1), ("RGB", 4), ("P", 1), ("1", 3)]
)
def test_channels_become_those_of_the_look(mode, channels) -> None:
    image = Image.fromarray(ramp(5, 5)).convert(mode)
    pixels, _ = decode(encoded(image), look(5, 5, channels=channels))
    wanted = {1: "L", 3: "RGB", 4: "RGBA"}[channels]
    assert np.array_equal(
        pixels.transpose(1, 2, 0).squeeze(), np.asarray(image.convert("RGB").convert(wanted))
    )


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF"])
def test_the_first_frame_counts(kind: str) -> None:
    first, second = (Image.new("RGB", (6, 6), colour) for colour in ("#f00000", "#00f000"))
    options = {"lossless": True} if kind == "WEBP" else {}
    data = encoded(first, kind, save_all=True, append_images=[second], **options)
    assert plain(data)[3, 3].tolist() == [240, 0, 0]


# -- orientation ------------------------------------------------------------------------------


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_exif_orientation(kind: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.fromarray(ramp(24, 40))
    options = {"lossless": True} if kind == "WEBP" else {}
    options |= {"quality": 98, "subsampling": 0} if kind == "JPEG" else {}
    data = encoded(stored, kind, exif=exif, **options)
    upright = np.asarray(
        ImageOps.exif_transpose(Image.open(io.BytesIO(encoded(stored, exif=exif))))
    )
    pixels, facts = whole(data)
    assert facts.high == upright.shape[:2]
    assert np.abs(pixels.transpose(1, 2, 0).astype(int) - upright).max() < 8


@pytest.mark.parametrize("orientation", [1, 6])
def test_large_jpegs_are_decoded_small(orientation: int, monkeypatch) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = ramp(400, 640)
    data = encoded(stored, "JPEG", quality=95, exif=exif)
    drafted = []
    from PIL.JpegImagePlugin import JpegImageFile

    draft = JpegImageFile.draft
    monkeypatch.setattr(
        JpegImageFile, "draft", lambda *a: (draft(*a), drafted.append(a[0].size))[0]
    )
    pixels, facts = decode(data, look(32, 32))
    assert drafted == [(160, 100)]  # at least twice as large as it will be
    upright = Image.fromarray(stored if orientation == 1 else np.rot90(stored, -1))
    wanted = ImageOps.fit(upright, (32, 32), Image.Resampling.BILINEAR)
    assert facts.high == (upright.height, upright.width)
    assert np.abs(pixels.transpose(1, 2, 0).astype(int) - np.asarray(wanted)).max() < 6


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")  # as while a cache is built
def test_damaged_exif_data_do_not_spoil_a_picture() -> None:
    data = encoded(ramp(8, 8), "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff" + b"\xff" * 40)
    assert np.abs(plain(data).astype(int) - ramp(8, 8)).max() < 40


# -- sizes ------------------------------------------------------------------------------------


def pattern(height: int, width: int) -> Image.Image:
    return Image.fromarray(ramp(height, width))


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
@pytest.mark.parametrize("size", [(48, 96), (90, 60), (33, 33), (200, 100)])
def test_the_middle_is_cut_out(kind: str, size: tuple[int, int]) -> None:
    data = encoded(pattern(97, 64), kind, **({"quality": 98} if kind == "JPEG" else {}))
    whole = Image.open(io.BytesIO(data))
    wanted = np.asarray(ImageOps.fit(whole, size[::-1], Image.Resampling.BILINEAR))
    assert np.abs(plain(data, look(*size)).astype(int) - wanted).max() <= 2


def test_the_part_that_is_kept_never_leaves_the_picture() -> None:
    """In floating point it may be wider than the picture by a rounding, on either side."""
    image = Image.new("L", (1, 1))
    for tall, wide in ((73, 73), (73, 110), (48, 96), (37, 41)):
        for height in range(40, 200, 7):
            for width in range(40, 200, 3):
                kept = arranged(image.resize((width, height)), look(tall, wide, channels=1))
                assert kept.shape == (1, tall, wide)


def test_stretching_keeps_everything() -> None:
    data = encoded(pattern(40, 20))
    wanted = pattern(40, 20).resize((30, 10), Image.Resampling.BILINEAR)
    assert np.array_equal(plain(data, look(10, 30, stretch=True)), np.asarray(wanted))


def test_a_crop_that_needs_no_resizing_is_exact() -> None:
    assert np.array_equal(
        plain(encoded(pattern(20, 31)), look(20, 20)), np.asarray(pattern(20, 31))[:, 5:25]
    )


def test_downscaling_is_antialiased() -> None:
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 255
    small = plain(encoded(stripes), look(8, 8))
    assert small.min() > 110 and small.max() < 145


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [(40, 60), (10, 15), (7, 31)])
def test_resizing_together_is_resizing_one_by_one(channels: int, size: tuple[int, int]) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (5, 20, 30, channels), dtype=np.uint8)
    together = resized([each.transpose(2, 0, 1) for each in noise], size)
    for each, done in zip(noise, together, strict=True):
        image = Image.fromarray(each.squeeze()).resize(size[::-1], Image.Resampling.BILINEAR)
        wanted = np.asarray(image).reshape(*size, channels)
        assert np.abs(done.transpose(1, 2, 0).astype(int) - wanted).max() <= 1


def test_only_small_jpegs_wait_to_be_resized_together() -> None:
    small, large = (encoded(ramp(side, side), "JPEG") for side in (200, 260))
    assert decode(small, look(100, 100))[0].shape == (3, 200, 200)
    assert decode(large, look(100, 100))[0].shape == (3, 100, 100)
    assert decode(small, look(100, 100, channels=1))[0].shape == (1, 100, 100)
    assert decode(small, look(100, 90))[0].shape == (3, 100, 90)


# -- what the form of a set is ----------------------------------------------------------------


def facts(*size: int, colour: bool = False, alpha: bool = False, clear: bool = False) -> ImageStats:
    return ImageStats(size, size, colour=colour, any_opaque=not alpha, any_transparent=clear)


@pytest.mark.parametrize(
    ("seen", "channels"),
    [
        ([facts(8, 8)], 1),
        ([facts(8, 8), facts(8, 8, colour=True)], 3),
        ([facts(8, 8, alpha=True)], 1),  # nothing is transparent
        ([facts(8, 8, colour=True, alpha=True)], 3),
        ([facts(8, 8, alpha=True, clear=True)], 4),
        ([facts(8, 8, alpha=True, clear=True), facts(8, 8, alpha=True)], 4),
        ([facts(8, 8, alpha=True, clear=True), facts(8, 8)], 1),
        ([facts(8, 8, alpha=True, clear=True), facts(8, 8, colour=True)], 3),
    ],
)
def test_channels_of_a_set(seen, channels) -> None:
    for order in (seen, seen[::-1]):
        merged = order[0]
        for each in order[1:]:
            merged = merged.merged(each)
        assert RequestedFormat(None, "center", "auto").output(merged).channels == channels
    for mode, fixed in (("grey", 1), ("rgb", 3), ("rgba", 4)):
        assert RequestedFormat(None, "center", mode).output(merged).channels == fixed


@pytest.mark.parametrize(
    ("first", "second", "size"),
    [
        ((20, 30), (20, 30), (20, 30)),
        ((256, 100), (256, 100), (256, 100)),
        ((257, 100), (257, 100), (64, 64)),
        ((20, 30), (30, 20), (64, 64)),
    ],
)
def test_size_of_a_set(first, second, size) -> None:
    merged = facts(*first).merged(facts(*second))
    assert RequestedFormat(None, "center", "auto").size_of(merged) == size
    assert RequestedFormat((5, 6), "center", "auto").size_of(merged) == (5, 6)


def test_random_crops_have_an_eighth_to_spare() -> None:
    wanted = RequestedFormat((48, 97), "random", "rgb")
    assert wanted.output(None).size == (55, 111) and not wanted.output(None).stretch
    assert wanted.size_of(None) == (48, 97)


# -- what cannot be read ----------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP", "GIF", "TIFF", "WEBP"])
@pytest.mark.parametrize("form", [None, look(8, 8)])
def test_truncated_pictures(kind: str, form: OutputFormat | None) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    data = encoded(noise, kind)
    for length in (0, 3, 30, len(data) // 2):
        with pytest.raises(PictureError) as caught:
            whole(data[:length]) if form is None else decode(data[:length], form)
        assert str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("data", [b"", b"<html>not found</html>", b"\xff\xd8\xff\xd9", bytes(99)])
def test_what_is_no_picture(data: bytes) -> None:
    with pytest.raises(PictureError, match="no picture, or damaged where it begins"):
        whole(data)


def test_decompression_bombs(monkeypatch: pytest.MonkeyPatch) -> None:
    for kind in ("PNG", "JPEG"):
        data = encoded(Image.new("L", (20_000, 9_000)), kind)
        assert len(data) < 4e6
        with pytest.raises(PictureError, match=r"^a decompression bomb: .*1(80|78),?[90]"):
            whole(data)
    monkeypatch.setattr(decoding, "MOST_PIXELS", 99)
    whole(encoded(Image.new("L", (9, 11))))
    with pytest.raises(PictureError, match="bomb: 10x10 are more than 99 pixels"):
        whole(encoded(Image.new("L", (10, 10))))


def test_formats_that_run_programs_are_not_opened() -> None:
    data = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\nshowpage\n"
    with pytest.raises(PictureError, match="no picture"):
        whole(data)
