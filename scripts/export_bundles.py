"""Write network.onnx and export.json beside bundles, so that they run without torch; their digests stay.

    python scripts/export_bundles.py                    those that come with hilum
    python scripts/export_bundles.py --bundle RUN ...   others

Five to twenty seconds each.
"""

import argparse

from hilum.bundle import bundle_folder, released, released_names
from hilum.bundle.exporting import export_bundle
from hilum.console import OUT
from hilum.engine import EXPORT, NETWORK


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", nargs="+", type=bundle_folder, help="folders of bundles or of their runs")
    for folder in parser.parse_args().bundle or [released(name) for name in released_names()]:
        export = export_bundle(folder)
        for name in (NETWORK, EXPORT):
            (folder / name).chmod(0o644)
        size, shift = (folder / NETWORK).stat().st_size, export.shift
        OUT.print(
            f"{folder.name}: {size / 1000:.0f} kB; on {shift.frames} drawn frames at most {shift.largest_logit:.1e} "
            f"from torch in a logit, {shift.largest_probability:.1e} in a probability",
            soft_wrap=True,
        )


if __name__ == "__main__":
    main()
