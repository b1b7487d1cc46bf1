"""One conformance suite over every meter, on fake sysfs trees, a fake NVML and captured text."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from paser_opt.catalog import load_device, names
from paser_opt.config import Device
from paser_opt.cost.energy import METERS, FakeMeter, Meter, choose
from paser_opt.cost.energy.base import trapezoid
from paser_opt.cost.energy.codecarbon_meter import CodecarbonMeter
from paser_opt.cost.energy.ina3221 import Ina3221Meter
from paser_opt.cost.energy.nvml import NvmlMeter
from paser_opt.cost.energy.pmic import PmicMeter, parse_pmic
from paser_opt.cost.energy.rapl import RaplMeter
from paser_opt.errors import ConfigError, DeviceError

PMIC_TEXT = """ 3V7_WL_SW_A current(0)=0.10000000A
   VDD_CORE_A current(7)=2.00000000A
   3V7_WL_SW_V volt(8)=3.70000000V
   VDD_CORE_V volt(15)=0.75000000V
   EXT5V_V volt(24)=5.15000000V
   BATT_V volt(25)=0.00000000V
"""


def write(root: Path, files: dict[str, object]) -> Path:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(f"{content}\n")
    return root


# --- fakes ----------------------------------------------------------------------------------------------


def rapl_tree(root: Path, microjoules: int = 5_000_000) -> Path:
    return write(
        root,
        {
            "intel-rapl:0/name": "package-0",
            "intel-rapl:0/energy_uj": microjoules,
            "intel-rapl:0/max_energy_range_uj": 262_143_328_850,
            "intel-rapl:0:0/name": "core",
            "intel-rapl:0:0/energy_uj": 777,
            "intel-rapl:1/name": "package-1",
            "intel-rapl:1/energy_uj": 90_000_000,
            "intel-rapl:1/max_energy_range_uj": 262_143_328_850,
            "intel-rapl:2/name": "psys",
            "intel-rapl:2/energy_uj": 999_000_000,
            "intel-rapl-mmio:0/name": "package-0",
            "intel-rapl-mmio:0/energy_uj": microjoules,
        },
    )


def jetpack5_tree(root: Path) -> Path:
    """Orin Nano: VDD_IN 5 V × 1.2 A = 6 W; channel 3 not connected, 7 the sum of shunt voltages."""
    chip = "sys/bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon3"
    labels = {1: "VDD_IN", 2: "VDD_CPU_GPU_CV", 3: "NC", 7: "sum of shunt voltages"}
    files: dict[str, object] = {f"{chip}/in{n}_label": label for n, label in labels.items()}
    files |= {f"{chip}/in1_input": 5000, f"{chip}/curr1_input": 1200}
    files |= {f"{chip}/in2_input": 5000, f"{chip}/curr2_input": 300}
    files |= {f"{chip}/in4_input": 40, f"{chip}/in7_input": 60}
    return write(root, files)


def jetpack4_tree(root: Path) -> Path:
    chip = "sys/bus/i2c/drivers/ina3221x/6-0040/iio:device0"
    files = {f"{chip}/rail_name_0": "POM_5V_IN", f"{chip}/in_power0_input": 1750}
    return write(root, files | {f"{chip}/rail_name_1": "POM_5V_GPU", f"{chip}/in_power1_input": 400})


def thor_tree(root: Path) -> Path:
    chip = "sys/bus/i2c/drivers/ina238/2-0044/hwmon/hwmon1"
    return write(root, {f"{chip}/label": "VIN", f"{chip}/power1_input": 21_500_000})


def agx_orin_tree(root: Path) -> Path:
    files: dict[str, object] = {}
    for address, rails in (
        ("1-0040", ("VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0")),
        ("1-0041", ("NC", "VDDQ_VDD2_1V8AO", "NC")),
    ):
        for n, rail in enumerate(rails, start=1):
            chip = f"sys/bus/i2c/drivers/ina3221/{address}/hwmon/hwmon{address[-1]}"
            files |= {
                f"{chip}/in{n}_label": rail,
                f"{chip}/in{n}_input": 10_000,
                f"{chip}/curr{n}_input": 100 * n,
            }
    return write(root, files)


@dataclass
class FakeNvml:
    """The few calls of pynvml that the meter makes; a missing figure answers NotSupported."""

    energy_mj: int | None = None
    instant_mw: int | None = None
    usage_mw: int | None = None
    asked: list[Any] = field(default_factory=list)

    NVML_SUCCESS = 0
    NVML_FI_DEV_POWER_INSTANT = 186

    class NVMLError(Exception):
        pass

    def nvmlInit(self) -> None: ...  # noqa: N802

    def nvmlDeviceGetHandleByIndex(self, index: int) -> str:  # noqa: N802
        self.asked.append(index)
        return "gpu"

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> str:  # noqa: N802
        self.asked.append(uuid)
        return "gpu"

    def nvmlDeviceGetName(self, handle: str) -> str:  # noqa: N802
        return "NVIDIA Fake"

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: str) -> int:  # noqa: N802
        return self._supported(self.energy_mj)

    def nvmlDeviceGetPowerUsage(self, handle: str) -> int:  # noqa: N802
        return self._supported(self.usage_mw)

    def nvmlDeviceGetFieldValues(self, handle: str, fields: list[int]) -> list[SimpleNamespace]:  # noqa: N802
        assert fields == [186]
        missing = self.instant_mw is None
        return [SimpleNamespace(nvmlReturn=3 if missing else 0, value=SimpleNamespace(uiVal=self.instant_mw))]

    def _supported(self, value: int | None) -> int:
        if value is None:
            raise self.NVMLError("Not Supported")
        return value


class FakeTracker:
    """codecarbon's tracker: 41 J in 2 s."""

    final_emissions_data = SimpleNamespace(
        energy_consumed=41 / 3.6e6, duration=2.0, codecarbon_version="3.3", cpu_power=0.5, ram_power=20.0
    )

    def start(self) -> None: ...

    def stop(self) -> None: ...


# --- the suite ------------------------------------------------------------------------------------------


@dataclass
class Rig:
    """A meter that works; what happens while it runs; what it must then say."""

    meter: Meter
    how: str
    source: tuple[str, ...]
    joules: float | None = None  # counters: what the work adds
    watts: float | None = None  # sampled and estimated
    work: Callable[[], object] = lambda: time.sleep(0.05)


def rapl_rig(root: Path) -> Rig:
    def work() -> None:
        for zone, add in (("0", 3_000_000), ("1", 4_500_000), ("2", 50_000_000)):
            counter = root / f"intel-rapl:{zone}/energy_uj"
            counter.write_text(str(int(counter.read_text()) + add))

    return Rig(RaplMeter(rapl_tree(root)), "counter", ("rapl", "package-0 + package-1"), joules=7.5, work=work)


def nvml_rig(root: Path) -> Rig:
    library = FakeNvml(energy_mj=10_000, instant_mw=99_000)

    def work() -> None:
        library.energy_mj = (library.energy_mj or 0) + 2_500

    return Rig(NvmlMeter("GPU-1", library), "counter", ("nvml", "NVIDIA Fake", "total energy"), joules=2.5, work=work)


RIGS: dict[str, Callable[[Path], Rig]] = {
    "rapl": rapl_rig,
    "nvml counter": nvml_rig,
    "nvml instant power": lambda root: Rig(
        NvmlMeter(library=FakeNvml(instant_mw=70_000, usage_mw=55_000)),
        "sampled",
        ("nvml", "samples"),
        watts=70,
    ),
    "nvml mean power": lambda root: Rig(NvmlMeter(library=FakeNvml(usage_mw=55_000)), "sampled", ("nvml",), watts=55),
    "jetpack 5": lambda root: Rig(
        Ina3221Meter(("VDD_IN",), jetpack5_tree(root)), "sampled", ("ina3221", "VDD_IN"), watts=6
    ),
    "jetpack 4": lambda root: Rig(
        Ina3221Meter(("POM_5V_IN",), jetpack4_tree(root)), "sampled", ("POM_5V_IN",), watts=1.75
    ),
    "thor": lambda root: Rig(Ina3221Meter(("VIN",), thor_tree(root)), "sampled", ("VIN",), watts=21.5),
    "agx orin": lambda root: Rig(
        Ina3221Meter(load_device("jetson-agx-orin").rails, agx_orin_tree(root)),
        "sampled",
        ("VDD_GPU_SOC + VDD_CPU_CV + VIN_SYS_5V0",),
        watts=1 + 2 + 3,
    ),
    "pmic": lambda root: Rig(
        PmicMeter(lambda: PMIC_TEXT), "sampled", ("pmic", "3V7_WL_SW + VDD_CORE"), watts=0.37 + 1.5
    ),
    "codecarbon": lambda root: Rig(
        CodecarbonMeter(FakeTracker), "estimated", ("carries nothing that latency does not",), watts=20.5
    ),
    "fake": lambda root: Rig(FakeMeter(3.0), "counter", ("fake",), watts=3),
}


@pytest.fixture(params=RIGS)
def rig(request: pytest.FixtureRequest, tmp_path: Path) -> Rig:
    return RIGS[request.param](tmp_path)


def test_a_meter_measures_a_window_and_says_how(rig: Rig) -> None:
    assert rig.meter.probe() is None
    for _ in range(2):  # a meter is used again and again
        rig.meter.start()
        rig.work()
        reading = rig.meter.stop()
        expected = rig.joules if rig.joules is not None else (rig.watts or 0) * reading.seconds
        assert reading.joules == pytest.approx(expected)
        assert reading.seconds > 0
        assert reading.how == rig.how
        assert rig.meter.estimates == (rig.how == "estimated")
        assert all(words in reading.source for words in rig.source)
        assert rig.meter.window_s > 0


def unreadable(root: Path) -> RaplMeter:
    class NoPermission(type(root)):  # type: ignore[misc]  # tests run as root, whom no file mode stops
        def read_text(self, *args: Any, **kwargs: Any) -> str:
            if self.name == "energy_uj":
                raise PermissionError(13, "Permission denied", str(self))
            return str(super().read_text(*args, **kwargs))

    return RaplMeter(NoPermission(rapl_tree(root)))


def failing(error: Exception) -> Callable[[], str]:
    def read() -> str:
        raise error

    return read


@pytest.mark.parametrize(
    ("build", "reason"),
    [
        (lambda root: RaplMeter(root / "none"), "is not there"),
        (lambda root: RaplMeter(root), "no package-* zone"),
        (unreadable, "sudo chmod a+r"),
        (lambda root: NvmlMeter(library=FakeNvml()), "neither energy nor power of this GPU: Not Supported"),
        (lambda root: Ina3221Meter(("VDD_IN",), root), "no INA3221 or INA238"),
        (lambda root: Ina3221Meter((), jetpack5_tree(root)), "this board has VDD_CPU_GPU_CV, VDD_IN"),
        (
            lambda root: Ina3221Meter(("POM_5V_IN",), jetpack5_tree(root)),
            "no rail POM_5V_IN; it has VDD_CPU_GPU_CV",
        ),
        (lambda root: Ina3221Meter(("NC",), jetpack5_tree(root)), "no rail NC"),
        (lambda root: PmicMeter(failing(FileNotFoundError())), "not a Raspberry Pi"),
        (lambda root: PmicMeter(failing(OSError("exit 1"))), "only a Raspberry Pi 5"),
        (lambda root: PmicMeter(lambda: "EXT5V_V volt(24)=5.1V"), "no rail with a current"),
        (lambda root: FakeMeter(reason="unplugged"), "unplugged"),
    ],
)
def test_an_unusable_meter_says_why_in_one_line(build: Callable[[Path], Meter], reason: str, tmp_path: Path) -> None:
    said = build(tmp_path).probe()
    assert said is not None and reason in said and "\n" not in said


# --- what only one meter has --------------------------------------------------------------------------------


def test_rapl_counter_wraps_around(tmp_path: Path) -> None:
    meter = RaplMeter(rapl_tree(tmp_path, microjoules=262_143_000_000))
    meter.start()
    (tmp_path / "intel-rapl:0/energy_uj").write_text("671150")
    # up to the range 328,850 µJ, then 671,150 more
    assert meter.stop().joules == pytest.approx(1.0)


def test_rapl_counts_mirrored_dies_once(tmp_path: Path) -> None:
    for die, value in ((0, 40_000_000), (1, 40_000_200), (2, 90_000_000)):
        zone = f"intel-rapl:{die}"
        write(tmp_path, {f"{zone}/name": f"package-0-die-{die}", f"{zone}/energy_uj": value})
    meter = RaplMeter(tmp_path)
    meter.start()
    for die in range(3):
        counter = tmp_path / f"intel-rapl:{die}/energy_uj"
        counter.write_text(str(int(counter.read_text()) + 2_000_000))
    reading = meter.stop()
    assert reading.joules == pytest.approx(4.0)
    assert reading.source == "rapl: package-0-die-0 + package-0-die-2"


def test_rapl_counts_dies_of_two_packages_however_alike_their_counters(tmp_path: Path) -> None:
    for package in (0, 1):
        zone = f"intel-rapl:{package}"
        write(tmp_path, {f"{zone}/name": f"package-{package}-die-0", f"{zone}/energy_uj": 40_000_000 + package})
    meter = RaplMeter(tmp_path)
    meter.start()
    assert meter.stop().source == "rapl: package-0-die-0 + package-1-die-0"


def test_nvml_takes_the_gpu_that_torch_uses() -> None:
    library = FakeNvml(energy_mj=1)
    NvmlMeter("GPU-abc", library).probe()
    NvmlMeter(None, library).probe()
    assert library.asked == ["GPU-abc", 0]


def test_pmic_pairs_by_name() -> None:
    assert parse_pmic(PMIC_TEXT) == pytest.approx({"3V7_WL_SW": 0.37, "VDD_CORE": 1.5})


def test_a_sensor_that_fails_midway_is_one_error(tmp_path: Path) -> None:
    meter = Ina3221Meter(("VDD_IN",), jetpack5_tree(tmp_path))
    meter.start()
    next(tmp_path.rglob("curr1_input")).unlink()
    time.sleep(0.1)
    with pytest.raises(DeviceError, match="power sensor failed while sampling"):
        meter.stop()


def test_trapezoid() -> None:
    assert trapezoid([0.0, 1.0, 3.0], [2.0, 4.0, 0.0]) == 3.0 + 4.0


# --- choosing -------------------------------------------------------------------------------------------


def test_choose_takes_the_first_usable_and_else_gives_every_reason() -> None:
    meters: dict[str, Callable[[Device], Meter]] = {
        "a": lambda device: FakeMeter(reason="no counter"),
        "b": lambda device: FakeMeter(2.0),
        "c": lambda device: FakeMeter(reason="no sensor"),
    }
    chosen = choose(Device(name="x", meters=("a", "b", "c")), meters)
    assert isinstance(chosen, FakeMeter) and chosen.watts == 2.0
    assert choose(Device(name="x", meters=("a", "c")), meters) == "a: no counter; c: no sensor"
    with pytest.raises(ConfigError, match="device x: no meter 'd'; known: a, b, c"):
        choose(Device(name="x", meters=("d",)), meters)


def test_a_device_without_meters_has_no_energy_and_says_so() -> None:
    assert choose(load_device("raspberry-pi-4")) == ("raspberry-pi-4 has no power sensor that software can read")


@pytest.mark.parametrize("name", names("devices"))
def test_every_device_that_ships_is_read_and_names_real_meters(name: str) -> None:
    device = load_device(name)
    assert device.name == name
    assert set(device.meters) <= set(METERS)
    assert device.local or device.match
    assert bool(device.rails) == ("ina3221" in device.meters)
