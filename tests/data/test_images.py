import io
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stylebench.data.images import ImageError, Size, decode_image, read_size, stored_size

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


@pytest.mark.parametrize("suffix", ["png", "bmp", "webp"])
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
        (b"just some text\n", r"is no JPEG, PNG, WebP or BMP image \(it starts with b'just some te'\); replace"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", "is no JPEG, PNG, WebP or BMP image"),
        (b"\xff\xd8\xff\xe0 and no more", "is truncated or damaged .* replace or remove it"),
        (b"\x89PNG\r\n\x1a\n and no more", "is truncated or damaged"),
        (b"BM and no more of it", "is truncated or damaged"),
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


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "bmp"])
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
