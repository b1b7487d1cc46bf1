"""Measure everything a study's space can be made of, before any trial."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from ..config import Device, Study
from ..cost import open_bench, open_profile
from ..data import load
from ..errors import ConfigError
from ..progress import Progress
from ..records import Profile, make_room, read_record
from ..routing import workloads
from .space import cover, unfit

__all__ = ["profile_study"]


def profile_study(
    study: Study,
    device: Device,
    path: Path,
    *,
    energy: bool,
    progress: Progress,
    estimate: bool = False,
    new: bool = False,
) -> Profile:
    """Measure every model of the space at the study's shapes on ``device``; kept and reused in ``path``.

    ``new`` measures all of it again, and replaces the profile in ``path`` when that is done. Raises RunError for a
    file there that is no profile, ConfigError where no pipeline fits the images, and DeviceError where ``device``
    cannot be measured: nothing is made up for it, unless to ``estimate`` from its data sheet was asked for.
    """
    bench = open_bench(device, estimate=estimate)
    data = load(study.data, progress=progress)
    steps, misfits = {}, []
    for config in cover(study, channels=data.channels, classes=data.classes):
        if misfit := unfit(config, data):
            misfits.append(misfit)
            continue
        found, _ = workloads(config, height=data.height, width=data.width, device=bench.where)
        steps.update({one.key: one for one in found})
    if not steps:
        raise ConfigError(f"no pipeline of study {study.name} runs on its images: {misfits[0]}; change [space]")
    make_room(path)
    with _replacing(path) if new and path.exists() else nullcontext(path) as target:
        open_profile(target, bench).ensure(list(steps.values()), progress=progress, energy=energy)
    return read_record(Profile, path)


@contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """A place for the profile that follows the one in ``path``: there it goes at the end, if that is reached."""
    read_record(Profile, path)
    target = path.with_name(f".{path.name}.new")
    target.unlink(missing_ok=True)
    try:
        yield target
        target.replace(path)
    finally:
        target.unlink(missing_ok=True)
