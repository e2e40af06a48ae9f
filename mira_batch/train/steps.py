"""Steps of a training: what goes on beside them, whatever learns.

transformers owns the loop: forward and backward passes, accumulation, AdamW, its schedule, workers that
learn together, and what a checkpoint holds. Ours is where a checkpoint is kept, what is measured beside, and
when it has to stop.
"""

from __future__ import annotations

import math
import re
import shutil
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from mira_batch.config.train import TrainingConfig
from mira_batch.core.errors import UserError
from mira_batch.core.stop_request import StopRequest
from mira_batch.storage.stores import Store, open_store
from mira_batch.train.checkpoints import drop_old, find_owner, list_whole, mark_whole, put_files
from mira_batch.train.model import load_weights, save_weights
from mira_batch.train.workers import check_workers, gather, ignore, is_first, name_rank

Config = TypeVar("Config", bound=TrainingConfig)
_KEPT = re.compile(
    r"(learned(_\d+)?\.safetensors|optimizer(_\d+)?\.pt|rng_state(_\d+)?\.pth|scheduler\.pt|trainer_state\.json)"
)
"""Files of a checkpoint; one with a number is of that worker alone."""
_SHOWN = {
    "loss": "loss",
    "mean_token_accuracy": "token_accuracy",
    "grad_norm": "grad_norm",
    "learning_rate": "learning_rate",
    "val_loss": "val_loss",
    "val_token_accuracy": "val_token_accuracy",
    "val_tokens": "val_tokens",
    "val_pairs": "val_pairs",
    "sight": "sight",
}
"""Figures of metrics.jsonl by the name that they have in the trainer's state."""
_LEARNED = {"loss": "loss {:.4f}", "mean_token_accuracy": "token accuracy {:.3f}"}
_VALIDATED = {"val_loss": "validation loss {:.4f}", "val_token_accuracy": "token accuracy {:.3f}"}
"""How figures are told to people, of those that there are."""


@dataclass
class Watch:
    """What goes on beside the steps of a training."""

    config: TrainingConfig
    store: Store
    steps: int
    """Of the whole training."""
    note: Callable[[str], None]
    validate: Callable[[], Mapping[str, float]] | None = None
    """Figures of what isn't learned from, of all workers together."""
    stop: StopRequest = field(default_factory=StopRequest)
    """Asks to end between two steps, with a checkpoint."""
    sight: float | None = None
    """That of the model before the first step."""
    started: float = field(default_factory=time.monotonic)
    first: int | None = None
    """The step that this call began after."""

    def begin(self, state: Any) -> None:
        """Measure where it starts from; of a training that goes on that is known."""
        self.first, self.started = state.global_step, time.monotonic()
        if state.global_step == 0:
            state.log_history.append({"step": 0, "sight": self.sight})
            self._measure(state)

    def end_step(self, state: Any) -> None:
        """Measure, where it is time."""
        every = self.config.validation.every if self.config.validation else 0
        if every and (state.global_step % every == 0 or state.global_step == self.steps):
            self._measure(state)

    def save(self, state: Any, folder: Path) -> None:
        """Put a checkpoint into the store, whole; called by every worker."""
        names = sorted(path.name for path in folder.iterdir() if _KEPT.fullmatch(path.name))
        mine = (name_rank(), None) if is_first() else (name_rank(),)
        own = [name for name in names if find_owner(name) in mine]
        _check_finite(folder, own)
        put = put_files(self.store, state.global_step, folder, own)
        files = {name: told for each in gather(put) for name, told in each.items()}
        if is_first():
            mark_whole(self.store, state.global_step, files)
            drop_old(self.store, self.config.checkpoints.keep)
            self.note(f"checkpoint at step {state.global_step:,}")
        else:
            shutil.rmtree(folder)  # the trainer itself deletes old ones of the first alone

    def log(self, state: Any, logs: Mapping[str, Any]) -> None:
        """A line for people."""
        if "loss" not in logs:
            return
        done = state.global_step - (self.first or 0)
        rate = done / max(1e-9, time.monotonic() - self.started)
        left = (self.steps - state.global_step) / max(1e-9, rate)
        self.note(
            f"step {state.global_step:,} of {self.steps:,}: {_show_figures(logs, _LEARNED)}, "
            f"{rate * self.config.step_samples:,.1f} samples/s, {_show_time(left)} left"
        )

    def _measure(self, state: Any) -> None:
        if self.validate is None:
            return
        figures = self.validate()
        state.log_history.append({"step": state.global_step, **figures})
        self.note(f"step {state.global_step:,}: {_show_figures(figures, _VALIDATED)}")


def guard_trainer(kind: Any, model: Any, watch: Watch, part: str = "") -> Any:
    """A class of trainers with our guards: its loss is a number, and its checkpoints hold what learns.

    Args:
        kind: transformers' Trainer, or one made of it.
        model: what learns.
        watch: what goes on beside.
        part: what names this worker's part of the weights; empty: it has all of them.
    """

    class Trainer(kind):
        def training_step(self, *args: Any, **kwargs: Any) -> Any:
            loss = super().training_step(*args, **kwargs)
            if not math.isfinite(float(loss)):
                raise UserError(_explain_divergence(float(loss), self.state.global_step, watch.store))
            return loss

        # transformers leaves out norms by their names, and knows not all of them (5.23.0).
        def get_decay_parameter_names(self, model: Any) -> list[str]:
            wide = {name for name, weight in model.named_parameters() if weight.dim() >= 2}
            return [name for name in super().get_decay_parameter_names(model) if name in wide]

        # In its own checkpoints of a whole Qwen2.5-VL transformers gives weights other names than it looks
        # for when it goes on, and would begin from the base weights again, with a warning (5.23.0).
        def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
            assert output_dir is not None
            save_weights(model, Path(output_dir) / f"learned{part}.safetensors")

        def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
            load_weights(model or self.model, Path(resume_from_checkpoint) / f"learned{part}.safetensors")

    return Trainer


def watch_trainer(trainer: Any, watch: Watch) -> None:
    """Have the trainer call what goes on beside its steps, and say nothing itself."""
    from transformers.trainer_callback import PrinterCallback, ProgressCallback

    trainer.add_callback(_make_hooks(watch))
    for kind in (PrinterCallback, ProgressCallback):
        trainer.remove_callback(kind)


def _make_hooks(watch: Watch) -> Any:
    """What the trainer calls beside its steps."""
    from transformers import TrainerCallback

    class Hooks(TrainerCallback):
        def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            watch.begin(state)

        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            watch.end_step(state)
            if state.global_step % watch.config.checkpoints.every == 0 or state.global_step == watch.steps:
                control.should_log = True  # what is gathered for a line is in no checkpoint
            if watch.stop.asked:
                control.should_log = control.should_save = control.should_training_stop = True

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
            watch.log(state, logs or {})

        def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            watch.save(state, Path(args.output_dir) / f"checkpoint-{state.global_step}")

    return Hooks()


def list_arguments(config: TrainingConfig, steps: int, folder: Path) -> dict[str, Any]:
    """The settings of transformers' trainer that all trainings have.

    Args:
        config: of the training.
        steps: of the whole training.
        folder: for the trainer's own files on this machine.
    """
    learn = config.optimizer
    kinds = {"constant": "constant_with_warmup", "linear": "linear", "cosine": "cosine"}
    return {
        "output_dir": str(folder),
        "remove_unused_columns": False,
        "train_sampling_strategy": "sequential",  # the order is drawn already
        "dataloader_drop_last": True,
        "max_steps": steps,
        "per_device_train_batch_size": config.batch,
        "gradient_accumulation_steps": config.accumulate,
        "learning_rate": learn.learning_rate,
        "lr_scheduler_type": kinds[learn.schedule],
        "warmup_steps": math.ceil(learn.warmup * steps),
        "weight_decay": learn.weight_decay,
        "adam_beta1": learn.beta1,
        "adam_beta2": learn.beta2,
        "max_grad_norm": learn.max_grad_norm,
        "seed": config.seed,
        "use_cpu": config.workers.gpus == 0,
        "bf16": config.precision == "bfloat16",
        "logging_strategy": "steps",
        "logging_steps": config.log_every,
        "logging_nan_inf_filter": False,
        "save_strategy": "steps",
        "save_steps": config.checkpoints.every,
        "save_total_limit": 1,
        "report_to": [],
        "disable_tqdm": True,
    }


def run_worker(
    config: Config,
    work: Callable[[Config, Store, Path, Callable[[str], None], StopRequest], dict[str, Any]],
    note: Callable[[str], None],
    stop: StopRequest | None,
) -> dict[str, Any]:
    """Train as one of the workers, with a folder of this machine that is deleted at the end.

    Args:
        config: of the training.
        work: trains; it is given the training's store, and the folder.
        note: told how it goes by the first worker.
        stop: asks to end between two steps; with the only worker alone.

    Raises:
        ConfigError: there are more workers or fewer than the config says.
    """
    check_workers(config.workers.num)
    store = open_store(config.output.uri, config.storage)
    folder = Path(tempfile.mkdtemp(prefix="mira-batch-train-"))
    try:
        with warnings.catch_warnings():  # of one library about the next version of another
            warnings.filterwarnings(
                "ignore", category=FutureWarning, module="trl|diffusers|transformers|torch"
            )
            return work(config, store, folder, note if is_first() else ignore, stop or StopRequest())
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def take_one_device(arguments: Any) -> None:
    """Have a worker learn on its own device alone: where a process sees several GPUs, transformers would give
    each a batch, and make as many samples of a step as nobody asked for.

    Args:
        arguments: settings of the trainer.
    """
    arguments._n_gpu = min(1, arguments.n_gpu)


def tell_begin(steps: int, step_samples: int, began: int) -> str:
    """In words, how long a training is, and where this call begins.

    Args:
        steps: of the whole training.
        step_samples: samples of a step.
        began: the step of the checkpoint that is gone on from; 0 without one.
    """
    where = f"going on after step {began:,}" if began else "from the beginning"
    return f"{steps:,} steps of {step_samples}; {where}"


def list_metrics(history: Sequence[Mapping[str, Any]], step_samples: int) -> list[dict[str, Any]]:
    """Lines of metrics.jsonl.

    Args:
        history: the log of the trainer's state.
        step_samples: samples of a step.
    """
    lines = []
    for entry in history:
        if figures := {ours: entry[name] for name, ours in _SHOWN.items() if name in entry}:
            lines.append({"step": entry["step"], "samples": entry["step"] * step_samples, **figures})
    return lines


def _show_figures(figures: Mapping[str, Any], words: Mapping[str, str]) -> str:
    return ", ".join(text.format(figures[name]) for name, text in words.items() if name in figures)


def _check_finite(folder: Path, names: Sequence[str]) -> None:
    """Keep no checkpoint of a model that is broken: the last good one would go for it.

    Raises:
        UserError: a weight is NaN or infinite.
    """
    from safetensors import safe_open

    for name in names:
        if name.endswith(".safetensors"):
            with safe_open(folder / name, "pt") as file:
                for key in file.keys():  # noqa: SIM118
                    if not bool(file.get_tensor(key).isfinite().all()):
                        raise UserError(
                            f"weights are no numbers any more ({key}); this checkpoint is not kept. Lower "
                            "optimizer.learning_rate, or raise its warmup, and train into a new output"
                        )


def _explain_divergence(loss: float, step: int, store: Store) -> str:
    whole = list_whole(store)
    kept = f"the checkpoint of step {whole[0]:,} is kept" if whole else "there is no checkpoint yet"
    return (
        f"the loss is {loss} at step {step + 1:,}; {kept}. Lower optimizer.learning_rate, or raise its "
        "warmup, and train into a new output"
    )


def _show_time(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
