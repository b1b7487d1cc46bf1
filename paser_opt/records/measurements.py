"""What costs were measured, counted, predicted or estimated, on which machine."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, FiniteFloat, model_validator

from .base import FORMAT, How, Record

__all__ = [
    "Agreement",
    "Energy",
    "Entry",
    "Latency",
    "Machine",
    "Memory",
    "Profile",
    "Quantity",
    "RoutePair",
    "Validation",
    "Work",
]


PositiveFinite = Annotated[FiniteFloat, Field(gt=0)]


class Quantity(Record):
    """One number with its origin; ``value`` None means missing, and ``reason`` says why."""

    value: float | None
    how: How
    source: str = ""
    reason: str | None = None
    low: float | None = Field(None, description="95 % interval")
    high: float | None = None

    @model_validator(mode="after")
    def _why(self) -> Quantity:
        if self.value is None and not self.reason:
            raise ValueError("a missing value needs a reason")
        return self


class Latency(Record):
    """Wall time of one call, seconds."""

    how: Literal["measured", "predicted", "estimated"] = "measured"
    median_s: PositiveFinite
    p95_s: PositiveFinite | None = Field(
        None, description="None under 90 samples, too few for a 95th percentile's bound"
    )
    low_s: FiniteFloat = Field(ge=0, description="95 % interval of the median")
    high_s: PositiveFinite
    samples: int = Field(ge=0, description="0 where it was not measured")
    stable: bool
    verdict: str = Field(description="in words: why it is or is not stable")
    pace: PositiveFinite | None = Field(
        None, description="what it was divided by to stand beside a profile's others; None: it stands as it was timed"
    )

    @model_validator(mode="after")
    def _ordered(self) -> Latency:
        if not self.low_s <= self.median_s <= self.high_s:
            raise ValueError("the median lies outside its interval")
        return self


class Energy(Record):
    """Energy of one call, joules. Gross is all the meter saw; net is gross less idle power × time."""

    gross_j: PositiveFinite | None
    spread: Annotated[FiniteFloat, Field(ge=0)] | None = Field(
        None, description="half-width of the 95 % interval of gross_j, as a share; None where it was not metered"
    )
    net_j: PositiveFinite | None
    idle_w: Annotated[FiniteFloat, Field(ge=0)] | None = None
    how: Literal["counter", "sampled", "predicted", "estimated"] | None
    source: str = Field(description="meter, and the sensors or rails it summed")
    samples: int = 0
    stable: bool = False
    reason: str | None = None

    @model_validator(mode="after")
    def _why(self) -> Energy:
        if self.gross_j is None and not self.reason:
            raise ValueError("missing energy needs a reason")
        return self


class Memory(Record):
    """Peak bytes of one call beyond its inputs, and the bytes of its weights."""

    peak_bytes: int | None = Field(ge=0)
    weight_bytes: int = Field(ge=0)
    how: Literal["measured", "counted", "predicted"]
    source: str
    reason: str | None = None


class Work(Record):
    """What a workload with convolutions computes, counted: what its cost is told from where it was not measured."""

    convolutions: int
    batch: int = Field(description="images or patches in the largest of them")
    weights: int = Field(description="of the convolutions")
    macs: tuple[int, int, int] = Field(description="with channels as they are, and rounded up to 8 and to 16")
    activations: tuple[int, int, int] = Field(description="elements read and written; channels likewise")


class Entry(Record):
    """What one workload costs on one device: a model at a shape and batch, or a step of the routing."""

    key: str
    batch: int
    architecture: str = Field("", description="entries of one architecture differ in size only")
    params: int = Field(ge=0)
    macs: int = Field(ge=0, description="multiply-accumulates of one call (fvcore's unit); FLOPs = 2·MACs")
    uncounted: dict[str, int] = Field(default_factory=dict, description="operations fvcore has no rule for")
    work: Work | None = Field(None, description="None where there are no convolutions")
    latency: Latency
    energy: Energy
    memory: Memory


class Machine(Record):
    """What the measurements were taken on."""

    device: str
    system: str
    processor: str
    cores: int | None = Field(description="None, as threads, where nothing was measured")
    threads: int | None
    memory_bytes: int | None = None
    accelerator: str | None = None
    runtime: str
    precision: str
    versions: dict[str, str] = Field(default_factory=dict)
    state: dict[str, str] = Field(default_factory=dict, description="governor, clocks, power mode, throttling")

    @property
    def described(self) -> str:
        """On one line, as a heading of what was measured on it."""
        threads = f"{self.threads} thread(s), " if self.threads else ""
        return f"{self.device}: {self.processor}, {threads}{self.runtime}, {self.precision}"


class Profile(Record):
    """All measurements of one device, by workload key."""

    format: int = FORMAT
    machine: Machine
    created: str
    seconds: float
    entries: dict[str, Entry]


class RoutePair(Record):
    """One route of one pipeline, predicted and measured."""

    pipeline: str
    route: str
    counts: list[int] = Field(description="patches kept by f_0 … f_m")
    predicted: Quantity
    measured: Latency
    pace: float | None = Field(
        None, description="of the device just then: latency of profiled steps timed again beside it / in the profile"
    )
    macs: float = Field(description="full convention")
    params: float = Field(description="the paper's cost: f_0's parameters, and f_i's for its share of the patches")
    unprofiled: bool = Field(description="some model's latency was told from other sizes")


class Agreement(Record):
    """How well one way to price a route tells its measured latency, over all pairs."""

    cost: str
    mape: float = Field(description="mean of |predicted / measured - 1|")
    bias: float = Field(description="mean of predicted / measured - 1")
    within_10: float = Field(description="share of pairs within ±10 %")
    spearman: float | None = Field(description="rank correlation; None for a single pair")


class Validation(Record):
    """Predicted beside measured on one device."""

    format: int = FORMAT
    machine: Machine
    pairs: list[RoutePair]
    agreement: list[Agreement]
