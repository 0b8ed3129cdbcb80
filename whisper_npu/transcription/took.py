"""What ran for a transcript, and what it took."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from whisper_npu.npu.device import Device, Run, Stats
from whisper_npu.npu.targets import Target


@dataclass(frozen=True)
class Switch:
    """A device that failed, and what went on in its place. A window that failed is encoded anew."""

    from_device: str  # its description
    to_device: str
    why: str  # the error, in one line
    window: int | None = None  # of the recording, from 1; None: it failed while the model was loaded
    seconds: float = 0.0  # where that window begins in the recording

    def __str__(self) -> str:
        at = "while the model was loaded" if self.window is None else f"in the window at {self.seconds:.1f} s"
        return f"the device failed {at}, and the emulator on this CPU goes on: {self.why}"

    def to_dict(self) -> dict[str, object]:
        """For a report."""
        return {
            "from": self.from_device,
            "to": self.to_device,
            "why": self.why,
            "window": self.window,
            "seconds": self.seconds,
        }


@dataclass(frozen=True)
class RunOn:
    """What a transcription ran on, in words."""

    model: str
    weights: str | None  # None: no model was loaded, for no recording could be read
    device: str
    device_description: str
    clock: str  # whose seconds the device measured
    target: Target
    kernel: str | None
    kernel_choice: str
    kernel_reason: str | None = None  # of the planner; None where it had no say
    compute_type: str | None = None  # the decoder's
    switch: Switch | None = None  # where the device failed, and the emulator went on

    @classmethod
    def of(cls, device: Device, model: str, kernel: str) -> RunOn:
        """Before a model is loaded. kernel: as asked for."""
        return cls(
            model=model,
            weights=None,
            device=device.name,
            device_description=device.description,
            clock=device.clock,
            target=device.target,
            kernel=None,
            kernel_choice="chosen by modelled cost" if kernel == "auto" else "asked for",
        )

    def after(self, switch: Switch | None) -> RunOn:
        """The same, where the emulator goes on from a window on, or from the first."""
        if switch is None:
            return self
        if switch.window is None:
            return replace(
                self, device="emulator", device_description=switch.to_device, clock="CPU", switch=switch
            )
        return replace(
            self,
            device=f"{self.device}, then emulator",
            device_description=f"{self.device_description}; from a failure on {switch.to_device}",
            clock=f"{self.clock}, then CPU",
            switch=switch,
        )


@dataclass(frozen=True)
class EncoderRun:
    """What the encoder did for one recording. Seconds are MEASURED."""

    windows: int  # of 30 s
    runs: tuple[Run, ...]  # one per product's name and plan
    total_seconds: float
    overlapped_seconds: float = 0.0  # of them: the encoder worked ahead, and the CPU was at other stages

    @property
    def waited_seconds(self) -> float:
        """Time in which nothing but the encoder worked on the recording."""
        return self.total_seconds - self.overlapped_seconds

    @property
    def stats(self) -> Stats:
        """Dispatches, bytes and seconds of all runs."""
        return sum((run.stats for run in self.runs), Stats())

    @property
    def pack_seconds(self) -> float:
        """Time to round operands to bf16 and lay them out for the kernel."""
        return sum(run.stats.pack_measured_s for run in self.runs)

    @property
    def kernel_seconds(self) -> float:
        """Time inside the device."""
        return sum(run.stats.kernel_measured_s for run in self.runs)

    @property
    def host_seconds(self) -> float:
        """The rest: softmax, GELU, norms, biases, residuals."""
        return self.total_seconds - self.pack_seconds - self.kernel_seconds


@dataclass(frozen=True)
class Took:
    """What one recording took. Seconds are MEASURED."""

    encoder: EncoderRun = field(default_factory=lambda: EncoderRun(windows=0, runs=(), total_seconds=0.0))
    audio_seconds: float = 0.0  # reading, resampling
    mel_seconds: float = 0.0
    decode_seconds: float = 0.0  # faster-whisper's loop and CTranslate2's decoder
    heard_seconds: float | None = None  # of the recording: its clips, as far as decoded; None: all of it

    @property
    def total_seconds(self) -> float:
        """Wall time of all of the above, but not of loading the model, which serves other recordings too."""
        return self.audio_seconds + self.mel_seconds + self.encoder.waited_seconds + self.decode_seconds
