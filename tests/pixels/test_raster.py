"""PNG and JPEG films: what is read, as what, and everything that is refused."""

import gc
import io
import struct
import subprocess
import sys
import tracemalloc
import zlib
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageOps

from hilum.errors import UnreadableFilm
from hilum.pixels import MOST_PIXELS, read_facts, read_film

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def drawn(height: int = 96, width: int = 128) -> NDArray[np.uint8]:
    """An uneven `(H, W)` picture that spans 0 to 255 and is not symmetric in any way."""
    y, x = np.mgrid[0:height, 0:width]
    wave = 0.5 * x / (width - 1) + 0.3 * y / (height - 1) + 0.1 * (1 + np.sin(x / 9.0) * np.cos(y / 7.0))
    wave = (wave - wave.min()) / np.ptp(wave)
    return np.round(255 * wave).astype(np.uint8)


def png(picture: Image.Image | NDArray[np.generic], **options: object) -> bytes:
    return _saved(picture, "PNG", **options)


def jpeg(picture: Image.Image | NDArray[np.generic], **options: object) -> bytes:
    return _saved(picture, "JPEG", **{"quality": 95, **options})


def _saved(picture: Image.Image | NDArray[np.generic], kind: str, **options: object) -> bytes:
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png_of_size(width: int, height: int, *, rows: bytes = b"", extra: bytes = b"") -> bytes:
    """An 8-bit grey PNG that states a size, whatever its rows hold."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return PNG_SIGNATURE + header + extra + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def colour_picture() -> NDArray[np.uint8]:
    grey = drawn()
    return np.dstack([grey, grey[::-1], grey[:, ::-1]])


def test_a_grey_png_is_divided_by_its_top() -> None:
    film = read_film(png(drawn()))
    np.testing.assert_array_equal(film.pixels, drawn() / np.float32(255))
    assert film.pixels.dtype == np.float32
    assert film.facts.warnings == ()
    assert (film.facts.format, film.facts.mode, film.facts.bits) == ("PNG", "L", 8)


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
def test_a_16_bit_png_is_scaled_by_its_used_bits_and_never_clipped(bits: int) -> None:
    stored = np.round(drawn() / 255 * ((1 << bits) - 1)).astype(np.uint16)
    film = read_film(png(stored))
    np.testing.assert_allclose(film.pixels, stored / ((1 << bits) - 1), atol=1e-7)
    assert film.facts.warnings == (() if bits == 16 else (f"{bits} of 16 bits used",))
    assert (film.facts.mode, film.facts.bits) == ("I;16", 16)


@pytest.mark.parametrize(
    ("made", "mode", "warned"),
    [
        (lambda grey: Image.fromarray(np.dstack([grey] * 3)), "RGB", ()),
        (lambda grey: Image.fromarray(grey).convert("P"), "P", ()),
        (lambda grey: Image.fromarray(np.dstack([grey, grey * 0 + 255])), "LA", ("alpha channel dropped",)),
        (lambda grey: Image.fromarray(np.dstack([grey] * 3 + [grey * 0 + 255])), "RGBA", ("alpha channel dropped",)),
    ],
)
def test_grey_in_another_coat_is_the_same_film(made, mode, warned) -> None:  # type: ignore[no-untyped-def]
    film = read_film(png(made(drawn())))
    np.testing.assert_allclose(film.pixels, drawn() / 255, atol=1e-6)
    assert film.facts.mode == mode
    assert film.facts.warnings == warned


def test_transparent_parts_are_black() -> None:
    alpha = np.full_like(drawn(), 255)
    alpha[:40] = 0
    film = read_film(png(np.dstack([drawn(), alpha])))
    assert film.pixels[:40].max() == 0
    np.testing.assert_allclose(film.pixels[40:], drawn()[40:] / 255, atol=1e-6)
    assert film.facts.warnings == ("alpha channel dropped: transparent parts are black",)


def test_a_two_valued_png_spans_zero_to_one() -> None:
    pixels = read_film(png(Image.fromarray(drawn()).convert("1"))).pixels
    assert set(np.unique(pixels)) == {0.0, 1.0}


@pytest.mark.parametrize("save", [png, jpeg])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(save, orientation: int) -> None:  # type: ignore[no-untyped-def]
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = save(drawn(), exif=exif)
    upright = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))))
    film, facts = read_film(data), read_facts(data)
    assert (facts.height, facts.width) == film.pixels.shape == upright.shape
    np.testing.assert_allclose(film.pixels, upright / 255, atol=2.5 / 255)


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"restart_marker_blocks": 4}])
def test_a_jpeg_is_what_pillow_decodes(options: dict[str, object]) -> None:
    data = jpeg(drawn(), **options)
    film = read_film(data)
    np.testing.assert_allclose(film.pixels, np.asarray(Image.open(io.BytesIO(data))) / 255, atol=2.5 / 255)
    assert (film.facts.format, film.facts.mode, film.facts.bytes) == ("JPEG", "L", len(data))


@pytest.mark.parametrize(("at_least_px", "divided_by"), [(None, 1), (214, 1), (213, 2), (106, 4), (53, 8), (1, 8)])
@pytest.mark.parametrize("orientation", [1, 6])
def test_a_jpeg_is_reduced_only_while_enough_is_left(at_least_px: int, divided_by: int, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    grey = drawn(640, 801)
    film = read_film(jpeg(grey, exif=exif), at_least_px=at_least_px)
    shape = (-(-640 // divided_by), -(-801 // divided_by))
    assert film.pixels.shape == (shape if orientation == 1 else shape[::-1])
    assert (film.facts.width, film.facts.height) == ((801, 640) if orientation == 1 else (640, 801))
    assert min(film.pixels.shape) >= 1.5 * (at_least_px or 1)


def test_a_film_saved_in_colour_is_read_as_luminance() -> None:
    grey = drawn().astype(int)
    tinted = np.clip(np.dstack([grey, grey + 4, grey + 20]), 0, 255).astype(np.uint8)
    film = read_film(png(tinted))
    assert film.facts.warnings == ("colour dropped: luminance read",)
    np.testing.assert_allclose(film.pixels, tinted @ [0.299, 0.587, 0.114] / 255, atol=1 / 255)
    assert read_film(jpeg(np.dstack([drawn()] * 3))).facts.warnings == ()


def test_a_coloured_arrow_does_not_refuse_a_film() -> None:
    marked = np.dstack([drawn()] * 3)
    marked[10:20, 20:60] = (255, 0, 0)
    assert read_film(png(marked)).facts.warnings == ("colour dropped: luminance read",)


def animated() -> bytes:
    frames = [Image.fromarray(drawn()), Image.fromarray(drawn()[::-1])]
    return png(frames[0], save_all=True, append_images=frames[1:])


def several_pictures() -> bytes:
    return _saved(Image.fromarray(drawn()), "MPO", save_all=True, append_images=[Image.fromarray(drawn()[::-1])])


def bad_checksum() -> bytes:
    data = bytearray(png(drawn()))
    data[len(data) // 2] ^= 0xFF
    return bytes(data)


def huge_jpeg() -> bytes:
    data = bytearray(jpeg(drawn()))
    frame = data.index(b"\xff\xc0")
    data[frame + 5 : frame + 9] = struct.pack(">HH", 65000, 65000)
    return bytes(data)


BAD = {
    "empty": (b"", "empty"),
    "text": (b"not a picture at all, however it is named" * 9, "unknown format"),
    "random": (np.random.default_rng(0).bytes(4000), "unknown format"),
    "eps": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 100 100\n", "unknown format"),
    "svg": (b'<svg xmlns="http://www.w3.org/2000/svg" width="200" height="200"/>', "unknown format"),
    "pdf": (b"%PDF-1.7\n", "unknown format"),
    "gif": (_saved(drawn(), "GIF"), "unknown format"),
    "tiff": (_saved(drawn(), "TIFF"), "unknown format"),
    "webp": (_saved(drawn(), "WEBP"), "unknown format"),
    "bmp": (_saved(drawn(), "BMP"), "unknown format"),
    "png and dicom at once": (png_of_size(64, 64)[:128].ljust(128, b"\0") + b"DICM", "unknown format"),
    "apng": (animated(), "several pictures"),
    "mpo": (several_pictures(), "several pictures"),
    "photograph png": (png(colour_picture()), "colour"),
    "photograph jpeg": (jpeg(colour_picture()), "colour"),
    "photograph palette": (png(Image.fromarray(colour_picture()).quantize(64)), "colour"),
    "cmyk": (jpeg(Image.fromarray(colour_picture()).convert("CMYK")), "colour"),
    "half a png": (png(drawn())[:2000], "truncated"),
    "png without its end": (png(drawn())[:-12], "truncated"),
    "half a jpeg": (jpeg(drawn())[:2000], "truncated"),
    "jpeg without its end": (jpeg(drawn())[:-2], "truncated"),
    "jpeg header only": (jpeg(drawn())[:100], "truncated"),
    "bad checksum": (bad_checksum(), "damaged"),
    "too few rows": (png_of_size(64, 64, rows=bytes(65 * 10)), "damaged"),
    "144 MP png": (png_of_size(12000, 12000), "too large"),
    "2**31 wide png": (png_of_size(2**31, 64), "too large"),
    "4 GP jpeg": (huge_jpeg(), "too large"),
    "zero wide": (png_of_size(0, 64), "damaged"),
    "tiny": (png(drawn(31, 400)), "too small"),
    "black": (png(np.zeros((64, 64), np.uint8)), "constant"),
    "white jpeg": (jpeg(np.full((64, 64), 255, np.uint8)), "constant"),
    "one value in 16 bits": (png(np.full((64, 64), 4000, np.uint16)), "constant"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_files_are_refused_in_one_sentence(name: str, tmp_path: Path) -> None:
    data, kind = BAD[name]
    path = tmp_path / "film 7.png"
    path.write_bytes(data)
    with pytest.raises(UnreadableFilm) as refusal:
        read_film(path)
    said = str(refusal.value)
    assert said.startswith(f"{kind}: film 7.png ")
    assert str(tmp_path) not in said
    assert "\n" not in said
    assert refusal.value.__context__ is None


@pytest.mark.parametrize("name", [name for name, (_, kind) in BAD.items() if kind in ("too large", "truncated")])
def test_facts_already_refuse_what_the_header_gives_away(name: str) -> None:
    data, kind = BAD[name]
    with pytest.raises(UnreadableFilm, match=f"^{kind}: the film "):
        read_facts(data)


@pytest.mark.parametrize("path", [Path("nowhere/film.png"), Path(__file__).parent])
def test_what_is_not_a_file_is_refused(path: Path) -> None:
    with pytest.raises(UnreadableFilm, match=r"^not found: "):
        read_film(path)


def test_oversized_pictures_cost_no_memory() -> None:
    files = [data for data, kind in BAD.values() if kind == "too large"]
    tracemalloc.start()
    for data in files:
        with pytest.raises(UnreadableFilm):
            read_film(data)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1_000_000 < MOST_PIXELS


def test_compressed_texts_are_never_unfolded() -> None:
    bomb = chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(50_000_000), 9))
    plain = png(drawn())
    tracemalloc.start()
    film = read_film(plain[:33] + bomb + plain[33:])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    np.testing.assert_array_equal(film.pixels, drawn() / np.float32(255))
    assert peak < 2_000_000


PNG_BYTES, JPEG_BYTES = png(drawn(40, 48)), jpeg(drawn(40, 48))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    whole=st.sampled_from([PNG_BYTES, JPEG_BYTES]),
    cut=st.floats(0, 1),
    changed=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=4),
)
def test_damage_is_refused_or_survived(whole: bytes, cut: float, changed: list[tuple[float, int]]) -> None:
    data = bytearray(whole[: round(cut * len(whole))])
    for place, value in changed:
        if data:
            data[int(place * len(data))] = value
    for read in (read_facts, read_film):
        with suppress(UnreadableFilm):
            read(bytes(data))


@pytest.mark.parametrize("whole", [PNG_BYTES, JPEG_BYTES])
def test_every_truncation_is_noticed(whole: bytes) -> None:
    for length in range(0, len(whole), 7):
        with pytest.raises(UnreadableFilm):
            read_facts(whole[:length])


def test_reading_does_not_grow_memory() -> None:
    files = [png(drawn()), jpeg(drawn()), png(drawn().astype(np.uint16) * 16), b"no film"]

    def read_all(times: int) -> None:
        for data in files * times:
            with suppress(UnreadableFilm):
                read_film(data, at_least_px=32)

    read_all(5)
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    read_all(250)
    gc.collect()
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert grown < 50_000


def test_png_and_jpeg_need_no_pydicom(tmp_path: Path) -> None:
    path = tmp_path / "film.png"
    path.write_bytes(png(drawn()))
    reads = "import sys, pathlib; from hilum.pixels import read_film; read_film(pathlib.Path(sys.argv[1]))"
    tells = "; print('pydicom' in sys.modules)"
    said = subprocess.run(
        [sys.executable, "-c", reads + tells, str(path)], capture_output=True, text=True, check=True
    ).stdout
    assert said.strip() == "False"


def test_real_films_read(data_pack: Path) -> None:
    films = sorted((data_pack / "sandrofab").rglob("*.jpg"))[::100]
    assert films
    for path in films:
        film = read_film(path)
        assert film.pixels.shape == (film.facts.height, film.facts.width)
        assert 0 <= film.pixels.min() < film.pixels.mean() < film.pixels.max() <= 1
