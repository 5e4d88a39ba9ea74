import io
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stylebench.data.color_profiles import BROKEN_PROFILE
from stylebench.data.images import (
    DARK_16_BIT,
    OVER_WHITE,
    ImageError,
    Size,
    decode_image,
    has_converted_colors,
    read_picture,
    read_size,
    stored_size,
)  # fmt: skip
from tests.helpers.profiles import DISPLAY_P3, SRGB

LIMIT = 1_000_000
HEIGHT, WIDTH = 3, 4


def png_bytes(width: int, height: int, depth: int, color_type: int, raw: bytes) -> bytes:
    """Write a PNG by the specification, for kinds that Pillow cannot save."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, depth, color_type, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b"")


def decode(path: Path) -> np.ndarray:
    pixels = decode_image(path, LIMIT)
    assert pixels.dtype == np.uint8
    assert pixels.ndim == 3
    assert pixels.shape[2] == 3
    assert pixels.flags.c_contiguous
    assert pixels.flags.writeable
    return pixels


@pytest.fixture
def rgb() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)


@pytest.mark.parametrize("suffix", ["png", "bmp", "webp", "tif", "tiff"])
def test_decode_returns_lossless_rgb_exactly(tmp_path: Path, rgb: np.ndarray, suffix: str) -> None:
    path = tmp_path / f"image.{suffix}"
    Image.fromarray(rgb).save(path, lossless=True)
    np.testing.assert_array_equal(decode(path), rgb)


def test_decode_jpeg_is_near_the_original(tmp_path: Path) -> None:
    ramp = np.broadcast_to(np.arange(0, 160, 5, dtype=np.uint8)[:, None, None], (32, 32, 3))
    path = tmp_path / "image.jpg"
    Image.fromarray(np.ascontiguousarray(ramp)).save(path, quality=95)
    assert np.abs(decode(path).astype(int) - ramp).max() <= 3


def test_decode_goes_by_content_not_by_suffix(tmp_path: Path, rgb: np.ndarray) -> None:
    path = tmp_path / "image.jpg"
    Image.fromarray(rgb).save(path, format="PNG")
    np.testing.assert_array_equal(decode(path), rgb)


def test_decode_repeats_grey_in_three_channels(tmp_path: Path, rgb: np.ndarray) -> None:
    Image.fromarray(rgb[..., 0]).save(tmp_path / "gray.png")
    np.testing.assert_array_equal(decode(tmp_path / "gray.png"), np.repeat(rgb[..., :1], 3, axis=2))


def test_decode_one_bit_image(tmp_path: Path) -> None:
    bits = np.array([[0, 255, 0], [255, 255, 0]], dtype=np.uint8)
    Image.fromarray(bits).convert("1").save(tmp_path / "bits.png")
    np.testing.assert_array_equal(decode(tmp_path / "bits.png")[..., 1], bits)


def test_decode_rounds_sixteen_bit_grey(tmp_path: Path) -> None:
    values = np.array([[0, 128, 129, 257], [32767, 32768, 65407, 65535]], dtype=np.uint16)
    Image.fromarray(values).save(tmp_path / "gray16.png")
    # v * 255 / 65535 = v / 257, rounded: 128/257 = 0.498 -> 0, 129/257 = 0.502 -> 1, 32767/257 = 127.498 -> 127.
    expected = [[0, 0, 1, 1], [127, 128, 255, 255]]
    np.testing.assert_array_equal(decode(tmp_path / "gray16.png")[..., 2], expected)


def test_decode_lays_transparent_sixteen_bit_grey_over_white(tmp_path: Path) -> None:
    values = np.array([[0, 1000], [40000, 65535]], dtype=np.uint16)
    Image.fromarray(values).save(tmp_path / "gray16.png", transparency=1000)
    np.testing.assert_array_equal(decode(tmp_path / "gray16.png")[..., 0], [[0, 255], [156, 255]])


def test_decode_takes_the_high_byte_of_sixteen_bit_rgb(tmp_path: Path) -> None:
    row = b"\x00" + struct.pack(">6H", 0x0000, 0x80FF, 0xFFFF, 0x1234, 0x5678, 0x9ABC)
    (tmp_path / "rgb16.png").write_bytes(png_bytes(2, 1, 16, 2, row))
    np.testing.assert_array_equal(decode(tmp_path / "rgb16.png"), [[[0x00, 0x80, 0xFF], [0x12, 0x56, 0x9A]]])


def test_decode_lays_rgba_over_white(tmp_path: Path) -> None:
    pixels = np.array([[[255, 0, 0, 255], [255, 0, 0, 0], [0, 0, 0, 102]]], dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "rgba.png")
    # Alpha 102/255 = 0.4 of black over white leaves 0.6 * 255 = 153.
    np.testing.assert_array_equal(decode(tmp_path / "rgba.png"), [[[255, 0, 0], [255, 255, 255], [153, 153, 153]]])


def test_decode_lays_grey_with_alpha_over_white(tmp_path: Path) -> None:
    pixels = np.array([[[10, 255], [10, 0]]], dtype=np.uint8)
    gray, alpha = (Image.fromarray(np.ascontiguousarray(pixels[..., i])) for i in (0, 1))
    Image.merge("LA", [gray, alpha]).save(tmp_path / "la.png")
    np.testing.assert_array_equal(decode(tmp_path / "la.png")[0, :, 0], [10, 255])


def palette_image(indices: list[list[int]]) -> Image.Image:
    image = Image.fromarray(np.array(indices, dtype=np.uint8)).convert("P")
    image.putdata([index for row in indices for index in row])
    image.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    return image


def test_decode_palette(tmp_path: Path) -> None:
    palette_image([[0, 1, 2]]).save(tmp_path / "palette.png")
    np.testing.assert_array_equal(decode(tmp_path / "palette.png"), [[[255, 0, 0], [0, 255, 0], [0, 0, 255]]])


def test_decode_lays_transparent_palette_over_white(tmp_path: Path) -> None:
    palette_image([[0, 1, 2]]).save(tmp_path / "palette.png", transparency=1)
    np.testing.assert_array_equal(decode(tmp_path / "palette.png"), [[[255, 0, 0], [255, 255, 255], [0, 0, 255]]])


def test_decode_transparent_color_of_rgb(tmp_path: Path) -> None:
    pixels = np.array([[[1, 2, 3], [9, 9, 9]]], dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "keyed.png", transparency=(1, 2, 3))
    np.testing.assert_array_equal(decode(tmp_path / "keyed.png"), [[[255, 255, 255], [9, 9, 9]]])


def test_decode_cmyk_jpeg(tmp_path: Path) -> None:
    image = Image.new("CMYK", (16, 16), (0, 255, 255, 0))  # full magenta and yellow are red
    image.save(tmp_path / "cmyk.jpg", quality=100)
    assert np.abs(decode(tmp_path / "cmyk.jpg")[8, 8].astype(int) - [255, 0, 0]).max() <= 3


# Where the corner pixel that is upper left in the upright image is stored, by EXIF orientation: an independent reading
# of the EXIF standard ("row 0 is the visual top / bottom / left / right").
STORED = {
    1: lambda upright: upright,
    2: lambda upright: upright[:, ::-1],
    3: lambda upright: upright[::-1, ::-1],
    4: lambda upright: upright[::-1],
    5: lambda upright: upright.swapaxes(0, 1),
    6: lambda upright: np.rot90(upright, 1),
    7: lambda upright: upright[::-1, ::-1].swapaxes(0, 1),
    8: lambda upright: np.rot90(upright, -1),
}


@pytest.mark.parametrize("orientation", sorted(STORED))
@pytest.mark.parametrize("suffix", ["png", "webp"])
def test_decode_turns_exif_rotated_images_upright(
    tmp_path: Path, rgb: np.ndarray, orientation: int, suffix: str
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"rotated.{suffix}"
    Image.fromarray(np.ascontiguousarray(STORED[orientation](rgb))).save(path, exif=exif, lossless=True)
    np.testing.assert_array_equal(decode(path), rgb)


def test_decode_exif_rotated_jpeg_shrinks_the_shorter_side(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (400, 200), "teal").save(tmp_path / "rotated.jpg", exif=exif)
    assert decode_image(tmp_path / "rotated.jpg", LIMIT, shorter_side_px=50).shape == (100, 50, 3)


def test_decode_ignores_damaged_exif(tmp_path: Path, rgb: np.ndarray) -> None:
    Image.fromarray(rgb).save(tmp_path / "image.png", exif=b"Exif\x00\x00MM\x00\x2a\x00\x00")
    np.testing.assert_array_equal(decode(tmp_path / "image.png"), rgb)


def test_shrinking_a_large_jpeg_at_reduced_scale_changes_little(tmp_path: Path) -> None:
    y, x = np.mgrid[0:600, 0:900]
    waves = 127 + 60 * np.sin(x / 40) + 60 * np.cos(y / 25)
    Image.fromarray(waves.astype(np.uint8)).convert("RGB").save(tmp_path / "large.jpg", quality=95)
    shrunk = decode_image(tmp_path / "large.jpg", LIMIT, shorter_side_px=100)
    direct = Image.fromarray(decode_image(tmp_path / "large.jpg", LIMIT)).resize((150, 100), Image.Resampling.LANCZOS)
    assert shrunk.shape == (100, 150, 3)
    assert np.abs(shrunk.astype(int) - np.asarray(direct)).max() <= 4  # the reduced scale rounds once more


def test_shrinking_never_enlarges(tmp_path: Path, rgb: np.ndarray) -> None:
    Image.fromarray(rgb).save(tmp_path / "small.png")
    np.testing.assert_array_equal(decode_image(tmp_path / "small.png", LIMIT, shorter_side_px=50), rgb)


@pytest.mark.parametrize(
    ("size", "expected"), [((100, 333), (50, 166)), ((333, 100), (166, 50)), ((50, 70), (50, 70)), ((20, 9), (20, 9))]
)
def test_stored_size(size: tuple[int, int], expected: tuple[int, int]) -> None:
    assert stored_size(Size(*size), 50) == expected


def test_read_size_reads_no_pixels(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (300, 200)).save(buffer, format="PNG")
    (tmp_path / "cut.png").write_bytes(buffer.getvalue()[:60])  # the header lies in the first 33 bytes
    assert read_size(tmp_path / "cut.png", LIMIT) == (200, 300)


def test_decompression_bomb_is_refused_by_its_header(tmp_path: Path) -> None:
    (tmp_path / "bomb.png").write_bytes(png_bytes(60_000, 60_000, 8, 2, b""))
    before = Image.MAX_IMAGE_PIXELS
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(
            ImageError, match=r"60000 x 60000 pixels, more than max_pixels=1000000; shrink it, or raise"
        ):
            decode_image(tmp_path / "bomb.png", LIMIT)
    assert before == Image.MAX_IMAGE_PIXELS


def test_images_above_pillows_own_limit_open_without_warning_where_allowed(tmp_path: Path) -> None:
    (tmp_path / "large.png").write_bytes(png_bytes(20_000, 10_000, 1, 0, b""))
    assert read_size(tmp_path / "large.png", 10**9) == (10_000, 20_000)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"is empty \(0 bytes\); replace or remove it"),
        (b"just some text\n", r"is no JPEG, PNG, WebP, BMP or TIFF image \(it starts with b'just some te'\); replace"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", "is no JPEG, PNG, WebP, BMP or TIFF image"),
        (b"\xff\xd8\xff\xe0 and no more", "is truncated or damaged .* replace or remove it"),
        (b"\x89PNG\r\n\x1a\n and no more", "is truncated or damaged"),
        (b"BM and no more of it", "is truncated or damaged"),
        (b"II*\x00 and no more", "is truncated or damaged"),
        (b"RIFF\x00\x00\x00\x00WEBP and no more of it", "is truncated or damaged"),
        (png_bytes(0, 5, 8, 2, b""), "damaged|has no pixels"),
    ],
)
def test_decode_names_what_is_wrong(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "image.jpg"
    path.write_bytes(content)
    with pytest.raises(ImageError, match=message) as caught:
        decode_image(path, LIMIT)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "bmp", "tif"])
def test_decode_refuses_truncated_images(tmp_path: Path, suffix: str) -> None:
    whole = tmp_path / f"whole.{suffix}"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(whole)
    for part in (0.3, 0.7, 0.97):
        cut = tmp_path / f"cut.{suffix}"
        content = whole.read_bytes()
        cut.write_bytes(content[: int(part * len(content))])
        with pytest.raises(ImageError, match="truncated or damaged"):
            decode_image(cut, LIMIT)


def test_decode_missing_file_stays_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        decode_image(tmp_path / "none.png", LIMIT)


def test_every_real_image_decodes(shared: Path) -> None:
    paths = sorted((shared / "data" / "style" / "classic").iterdir())
    assert paths
    for path in paths:
        pixels = decode_image(path, 10**8, shorter_side_px=64)
        assert min(pixels.shape[:2]) == 64


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "tiff_adobe_deflate", "packbits"])
def test_tiff_is_read_whatever_its_compression(tmp_path: Path, rgb: np.ndarray, compression: str) -> None:
    Image.fromarray(rgb).save(tmp_path / "image.tif", compression=compression)
    np.testing.assert_array_equal(decode(tmp_path / "image.tif"), rgb)
    assert read_size(tmp_path / "image.tif", LIMIT) == (HEIGHT, WIDTH)


def test_a_tiff_of_too_many_pixels_is_refused_by_its_header(tmp_path: Path) -> None:
    Image.new("1", (2000, 1000)).save(tmp_path / "bomb.tif", compression="group4")
    with pytest.raises(ImageError, match=r"2000 x 1000 pixels, more than max_pixels=1000000"):
        decode_image(tmp_path / "bomb.tif", LIMIT)


def test_of_a_tiff_with_pages_the_first_is_read(tmp_path: Path, rgb: np.ndarray) -> None:
    Image.fromarray(rgb).save(tmp_path / "pages.tif", save_all=True, append_images=[Image.new("RGB", (9, 9))])
    np.testing.assert_array_equal(decode(tmp_path / "pages.tif"), rgb)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.full((2, 2), 0.5, np.float32), "holds floating-point numbers; save it as RGB with 8 or 16 bits"),
        (np.full((2, 2), 70000, np.int32), "holds whole numbers beyond 16 bits"),
        (np.full((2, 2), -1, np.int32), "holds whole numbers beyond 16 bits"),
    ],
)
def test_numbers_that_are_no_levels_are_refused(tmp_path: Path, values: np.ndarray, message: str) -> None:
    Image.fromarray(values).save(tmp_path / "numbers.tif")
    with pytest.raises(ImageError, match=message):
        decode_image(tmp_path / "numbers.tif", LIMIT)


@pytest.mark.parametrize("suffix", ["png", "webp", "jpg", "tif"])
def test_display_p3_becomes_srgb(tmp_path: Path, suffix: str) -> None:
    # P3's numbers of sRGB (200, 100, 50), by the primaries of both: linear light of .5776 .1274 .0319 times
    # [[.8225, .1774, 0], [.0332, .9669, 0], [.0171, .0724, .9108]] is .4977 .1424 .0482, coded 187 105 62.
    Image.new("RGB", (32, 32), (187, 105, 62)).save(
        tmp_path / f"p3.{suffix}", icc_profile=DISPLAY_P3, **({"quality": 100} if suffix in ("jpg", "webp") else {})
    )
    found = decode(tmp_path / f"p3.{suffix}").astype(int)
    assert np.abs(found - [200, 100, 50]).max() <= 3
    assert has_converted_colors(tmp_path / f"p3.{suffix}")


def test_an_srgb_profile_changes_no_bit(tmp_path: Path, rgb: np.ndarray) -> None:
    Image.fromarray(rgb).save(tmp_path / "srgb.png", icc_profile=SRGB)
    picture = read_picture(tmp_path / "srgb.png", LIMIT)
    np.testing.assert_array_equal(picture.pixels, rgb)
    assert (picture.notes, has_converted_colors(tmp_path / "srgb.png")) == ((), False)


def test_transparency_survives_the_profile(tmp_path: Path) -> None:
    Image.new("RGBA", (2, 1), (187, 105, 62, 255)).save(tmp_path / "p3.png", icc_profile=DISPLAY_P3)
    with Image.open(tmp_path / "p3.png") as image:
        image.putpixel((1, 0), (187, 105, 62, 102))
        image.save(tmp_path / "p3.png", icc_profile=DISPLAY_P3)
    picture = read_picture(tmp_path / "p3.png", LIMIT)
    assert picture.alpha is not None
    assert picture.alpha.tolist() == [[255, 102]]
    # Over white .4 is left of it: 255 - .4 * (255 - 200) = 233, 193, 173.
    assert np.abs(picture.pixels.astype(int) - [[[200, 100, 50], [233, 193, 173]]]).max() <= 2


@pytest.mark.parametrize("profile", [b"broken", DISPLAY_P3[:200], DISPLAY_P3[:60] + b"\xff" * 400])
def test_a_broken_profile_is_noted_and_ignored(tmp_path: Path, rgb: np.ndarray, profile: bytes) -> None:
    Image.fromarray(rgb).save(tmp_path / "broken.png", icc_profile=profile)
    picture = read_picture(tmp_path / "broken.png", LIMIT)
    np.testing.assert_array_equal(picture.pixels, rgb)
    assert picture.notes == (BROKEN_PROFILE,)
    assert not has_converted_colors(tmp_path / "broken.png")


def test_a_profile_of_another_color_space_is_ignored(tmp_path: Path, rgb: np.ndarray) -> None:
    Image.fromarray(rgb).convert("CMYK").save(tmp_path / "a.jpg", icc_profile=DISPLAY_P3, quality=100)
    Image.fromarray(rgb).convert("CMYK").save(tmp_path / "b.jpg", quality=100)
    picture = read_picture(tmp_path / "a.jpg", LIMIT)
    np.testing.assert_array_equal(picture.pixels, decode(tmp_path / "b.jpg"))
    assert picture.notes == (BROKEN_PROFILE,)


@pytest.mark.parametrize(("most", "expected"), [(4095, (DARK_16_BIT,)), (65535, ())])
@pytest.mark.parametrize("kind", ["gray.png", "gray.tif", "rgb.png"])
def test_sixteen_bits_that_are_fewer_are_noted(tmp_path: Path, kind: str, most: int, expected: tuple[str, ...]) -> None:
    if kind == "rgb.png":
        (tmp_path / kind).write_bytes(png_bytes(2, 1, 16, 2, b"\x00" + struct.pack(">6H", 0, most, 0, 9, 9, 9)))
    else:
        Image.fromarray(np.array([[0, most]], dtype=np.uint16)).save(tmp_path / kind)
    assert read_picture(tmp_path / kind, LIMIT).notes == expected


def test_a_dark_picture_of_eight_bits_needs_no_note(tmp_path: Path) -> None:
    Image.new("RGB", (2, 2), (9, 9, 9)).save(tmp_path / "dark.png")
    assert read_picture(tmp_path / "dark.png", LIMIT).notes == ()


def test_only_what_is_transparent_somewhere_has_alpha(tmp_path: Path) -> None:
    Image.new("RGBA", (2, 2), (9, 9, 9, 255)).save(tmp_path / "opaque.png")
    Image.new("RGBA", (2, 2), (9, 9, 9, 254)).save(tmp_path / "glass.png")
    assert read_picture(tmp_path / "opaque.png", LIMIT).alpha is None
    notes: list[str] = []
    decode_image(tmp_path / "glass.png", LIMIT, notes=notes)
    assert notes == [OVER_WHITE]
