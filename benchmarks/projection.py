"""What a number of films costs to index, predict and draw lungs on: bytes, processor hours, wall hours, from constants.

Nothing is measured here. Every constant can be set: `python benchmarks/projection.py --films 10e6 --cores 512`.
"""

import argparse
from dataclasses import dataclass, fields

HOUR_S = 3600.0


@dataclass(frozen=True)
class Constants:
    """Of one film where nothing else is said; milliseconds of one processor, on one thread.

    Measured here: AMD EPYC, 2 shared cores, 32 films of sandrofab (JPEG, 47 kB), the bundles that come with hilum.
    """

    films: float = 10e6
    cores: float = 256
    film_bytes: float = 8e6
    """Assumed: a 16-bit DICOM of 9 megapixels, compressed without loss. The films measured here have 47e3."""
    decode_ms: float = 107
    """Measured on another processor (Xeon, AVX512): a 16-bit JPEG 2000. The films measured here take 2.0."""
    hash_ms: float = 8
    """Assumed: hashing the bytes and the picture of such a film. Of those measured here, decoded small, less than 1."""
    predict_ms: float = 93
    """Measured: covid19-frontal with the view filter, float32, the lungs that it needs drawn; without decoding."""
    predict_decodes: float = 2
    """Times that a film is decoded for it: for its lungs, and for its frame."""
    lungs_ms: float = 78
    """Measured: view filter, network and mask; without decoding."""
    frame_bytes: float = 224 * 224
    """Of a frame in the cache, a byte a pixel."""
    mask_bytes: float = 3.6e3
    """Measured: a lung mask as PNG."""
    row_bytes: float = 127
    """Measured: a row of predictions in a Parquet part of 32 films; larger parts need less."""
    core_bytes_s: float = 100e6
    """Assumed: what a store gives each core in a second."""
    efficiency: float = 0.9
    """Assumed: of the cores' time that is work; starts, stragglers and lost machines take the rest."""
    core_hour_price: float = 0.03
    """Assumed, in any currency: an hour of a core on machines that may be taken back."""
    byte_month_price: float = 0.02e-9
    """Assumed: a byte in an object store for a month."""


def table(told: Constants) -> list[tuple[str, str]]:
    """Rows of what and how much."""
    read_ms = 1000 * told.film_bytes / told.core_bytes_s
    costs = {
        "index": read_ms + told.decode_ms + told.hash_ms,
        "predict": read_ms + told.predict_decodes * told.decode_ms + told.predict_ms,
        "lungs": read_ms + told.decode_ms + told.lungs_ms,
    }
    rows = [
        ("films", f"{told.films:,.0f}"),
        ("bytes of films", _bytes(told.films * told.film_bytes)),
        ("bytes of frames", _bytes(told.films * told.frame_bytes)),
        ("bytes of masks", _bytes(told.films * told.mask_bytes)),
        ("bytes of Parquet parts", _bytes(told.films * told.row_bytes)),
    ]
    for verb, ms in costs.items():
        hours = told.films * ms / 1000 / HOUR_S / told.efficiency
        rows.append((f"{verb}: ms a film", f"{ms:.0f}, of it reading {read_ms:.0f}"))
        rows.append((f"{verb}: core hours", f"{hours:,.0f}"))
        rows.append((f"{verb}: hours on {told.cores:,.0f} cores", f"{hours / told.cores:,.1f}"))
        rows.append((f"{verb}: price of the cores", f"{hours * told.core_hour_price:,.0f}"))
    rows.append(("price of keeping the films, a month", f"{told.films * told.film_bytes * told.byte_month_price:,.0f}"))
    return rows


def _bytes(count: float) -> str:
    """With the prefix that leaves one to three figures before the point."""
    for prefix in ("", "k", "M", "G", "T"):
        if count < 1000:
            return f"{count:,.1f} {prefix}B"
        count /= 1000
    return f"{count:,.1f} PB"


def main() -> None:
    """Print the table as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    for one in fields(Constants):
        parser.add_argument(f"--{one.name.replace('_', '-')}", type=float, default=one.default)
    told = Constants(**vars(parser.parse_args()))
    print("| what | how much |\n|---|---|")
    for what, much in table(told):
        print(f"| {what} | {much} |")


if __name__ == "__main__":
    main()
