"""Run as a program: the application of the tests on a real server; prints its address, then `reading` for each film."""

import json
import sys

from hilum.serve.app import create_app
from hilum.serve.decoder import DecodedFilm
from hilum.serve.reading import Told, refused
from hilum.serve.running import run
from hilum.serve.settings import Settings


class SlowReader:
    """Says that it reads, and takes its time."""

    sizes = ()

    def read(self, film: DecodedFilm, *, name: str, sha256: str, pictures: bool, drawn: bool) -> Told:
        import time

        sys.stdout.write("reading\n")
        sys.stdout.flush()
        time.sleep(float(sys.argv[2]))
        return Told(answer=refused(name, sha256, "slow", f"{name} was read"))


def _told(address: str) -> None:
    sys.stdout.write(address + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    run(create_app(SlowReader(), [], Settings(**json.loads(sys.argv[1]))), "127.0.0.1", 0, _told)
