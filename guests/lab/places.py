"""Where the rig keeps things, and what it takes from the environment."""
import os

from chaos.lab.shell import REPOSITORY

HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))  # the folder guests/


def directory() -> str:
    """The folder for what is built: HOLDFAST_GUESTS_DIRECTORY, else .build/guests of this repository."""
    path = os.environ.get("HOLDFAST_GUESTS_DIRECTORY", os.path.join(REPOSITORY, ".build", "guests"))
    os.makedirs(path, exist_ok=True)
    return os.path.realpath(path)


def built(name: str) -> str:
    """A path in that folder."""
    return os.path.join(directory(), name)


def binary() -> str:
    """The product: HOLDFAST_BINARY, else the release build of this repository."""
    path = os.environ.get("HOLDFAST_BINARY", os.path.join(REPOSITORY, ".build", "release", "holdfast"))
    if not os.access(path, os.X_OK):
        raise SystemExit(f"{path} is missing; build it (make build), or name one: HOLDFAST_BINARY=PATH")
    return os.path.realpath(path)


def unit() -> str:
    """The unit file that is installed beside it."""
    return os.path.join(REPOSITORY, "scripts", "holdfast.service")


def mirror() -> str:
    """Where Debian's packages come from."""
    return os.environ.get("HOLDFAST_GUESTS_MIRROR", "http://deb.debian.org/debian")
