"""Every error a user can cause, and nothing else.

    PaserError                  one clear line; the command line prints it and exits with 2
    ├── ConfigError             a study, device or pipeline description is wrong
    ├── DataError               an image, mask or data folder is wrong
    ├── DeviceError             a device or its meter cannot do what was asked
    ├── RunError                a run folder is missing, locked, damaged or another version's
    └── DivergedError           a training produced NaN or infinity (ends its trial, not the search)

A message names the file or field and the mend. A fault of this program is never a PaserError.
Shipped to boards: Python 3.6, standard library only.
"""

__all__ = ["ConfigError", "DataError", "DeviceError", "DivergedError", "PaserError", "RunError"]


class PaserError(Exception):
    """Base of everything below: ``str(error)`` is one line that names the fault and the mend."""

    def __str__(self) -> str:
        # A key or a file name may hold line breaks and a terminal's control codes; a message is one plain line.
        return "".join(letter if letter.isprintable() else " " for letter in super().__str__())


class ConfigError(PaserError):
    """A study, device or pipeline description is wrong."""


class DataError(PaserError):
    """An image, mask or data folder is wrong."""


class DeviceError(PaserError):
    """A device or its meter cannot do what was asked."""


class RunError(PaserError):
    """A run folder is missing, locked, damaged or another version's."""


class DivergedError(PaserError):
    """A training produced NaN or infinity."""
