"""Give a released bundle the reference of the run that made it: intervals, a limit for strange films, hashes.

    python scripts/attach_reference.py RUN src/hilum/bundles/NAME

The run must be the very one: its bundle's weights are compared. `hilum train` does this for a run's own bundle.
"""

import argparse
from pathlib import Path

from hilum.console import OUT
from hilum.run import Run
from hilum.run.reference import attach_reference


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("bundle", type=Path)
    asked = parser.parse_args()
    OUT.print(f"written: {attach_reference(Run(asked.run), asked.bundle)}", highlight=False, soft_wrap=True)


if __name__ == "__main__":
    main()
