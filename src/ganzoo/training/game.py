"""The game: one iteration of generator against discriminator."""

from __future__ import annotations

import contextlib
import copy
import itertools
import operator
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from ganzoo.core.nets import evaluating, frozen
from ganzoo.core.step import OWN, Judge, Output, Step
from ganzoo.errors import ConfigError, listing, quoted
from ganzoo.files import checkpoint
from ganzoo.training.contract_losses import check_scalar
from ganzoo.training.first_batch import FirstBatch
from ganzoo.training.monitor import NonFiniteMonitor, gradient_norms

if TYPE_CHECKING:
    from torch import Tensor

    from ganzoo.core.spec import LatentSpec
    from ganzoo.losses.base import Loss

__all__ = ["EMA", "Game", "foreign_autocast"]

Batch = Callable[[], "tuple[Tensor, Tensor | None]"]


_dtype = operator.attrgetter("dtype")


class _Identity:
    """What a net holds: tells cheaply whether a tensor or a part of it has been exchanged."""

    def __init__(self, net: nn.Module) -> None:
        self._tables: list[dict[str, Any]] = [
            table
            for part in net.modules()
            for table in (part._parameters, part._buffers, part._modules)
        ]
        self._before = self._now()

    def _now(self) -> list[Any]:
        return list(itertools.chain.from_iterable(map(dict.values, self._tables)))

    @property
    def changed(self) -> bool:
        """Whether the net holds other objects than when this was made."""
        now = self._now()
        return len(now) != len(self._before) or not all(map(operator.is_, now, self._before))


class EMA:
    """Exponential moving average of a generator, weights and buffers alike.

    The decay is min(decay, (1 + n) / (10 + n)) at update n, so that the random start is soon
    forgotten. Buffers are averaged too: an average net that kept the current net's batch-norm
    statistics would be normalised with somebody else's. Tensors that the net exchanges for others
    of the same name and shape are followed from then on.

    Args:
        module: The net to follow.
        decay: Share that is kept at each update, in [0, 1); 0 follows the net itself.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.module = copy.deepcopy(module).eval().requires_grad_(False)
        self.decay = decay
        self.updates = 0
        self._net = module
        self._pair()

    def _pair(self) -> None:
        """Find out which tensor follows which; these are the nets' own objects, not views."""
        mine = self.module.state_dict(keep_vars=True)
        theirs = self._net.state_dict(keep_vars=True)
        _same_tensors("generator", mine, theirs)
        self._identities = [_Identity(net) for net in (self.module, self._net)]
        # One that has several names moves once.
        pairs = {id(value): (value, theirs[name]) for name, value in mine.items()}.values()
        smooth = [
            (a, b)
            for a, b in pairs
            if a.is_floating_point() and (a.dtype, a.device) == (b.dtype, b.device)
        ]
        self._mine, self._theirs = [a for a, _ in smooth], [b for _, b in smooth]
        self._types = [*map(_dtype, self._theirs)]
        moved = {id(a) for a in self._mine}
        self._others = [(a, b) for a, b in pairs if id(a) not in moved]

    @torch.no_grad()
    def update(self) -> None:
        """Move towards the net's present state.

        Raises:
            ConfigError: If the net has tensors now of other names or shapes than it began with.
        """
        # What is exchanged below a parameter (.data, .double()) shows in its type alone.
        if any(held.changed for held in self._identities) or self._types != [
            *map(_dtype, self._theirs)
        ]:
            self._pair()
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        if self._mine:
            torch._foreach_lerp_(self._mine, self._theirs, 1 - decay)
        for mine, theirs in self._others:  # counters, and what was exchanged for another type
            if mine.is_floating_point():
                mine.lerp_(theirs.to(mine), 1 - decay)
            else:
                mine.copy_(theirs)
        self.updates += 1


def foreign_autocast(device: torch.device) -> torch.dtype | None:
    """Refuse an autocast around the training that keeps weights cast before an update.

    Returns:
        The type that one computes in which keeps nothing, and so does no harm; None without any.

    Raises:
        ConfigError: If there is one that keeps cast weights, as it does unless told otherwise.
    """
    if not torch.is_autocast_enabled(device.type):
        return None
    dtype = torch.get_autocast_dtype(device.type)
    if torch.is_autocast_cache_enabled():
        raise ConfigError(
            f"torch.autocast('{device.type}', {dtype}) is on around the training. It keeps cast "
            f"weights until its block ends, so that nets would go on computing with those from "
            f"before their updates. Train outside of the block; precision='bf16' computes in "
            f"bfloat16."
        )
    return dtype


@dataclass(eq=False)
class Game:
    """Both players, their optimizers and the rules between them.

    Attributes:
        generator: ``(latent, labels) -> samples``.
        discriminator: ``(samples, labels) -> logits (N,)`` or ``Output``.
        loss: What both minimise.
        latent: What the generator is fed.
        g_optimizer: Of the generator's parameters.
        d_optimizer: Of the discriminator's parameters.
        ema: Follows the generator after each of its updates.
        d_steps: Updates of D per iteration, each on fresh real and generated samples.
        g_steps: Updates of G per iteration.
        joint_batch: Show D real and generated samples as one batch instead of two.
        d_eval_for_g: Put D in evaluation mode in G's phase.
        clip: Largest norm of a net's gradient; None leaves it as it is.
        autocast: Multiply matrices in bfloat16.
        noise: Source of the latents, on the device.
        skip_nonfinite: Leave out updates whose loss or gradient is not finite: weights,
            optimizers and buffers stay as they were. The average moves on, towards weights that
            have not moved.
        played: Iterations finished.
        first: Looks at the first iteration that this game plays, and is then let go.
        skipped: How many updates have been left out: a 0-d tensor on the device.
        watches: Where numbers first went wrong, for ``discriminator`` and ``generator``.
    """

    generator: nn.Module
    discriminator: nn.Module
    loss: Loss
    latent: LatentSpec
    g_optimizer: torch.optim.Optimizer
    d_optimizer: torch.optim.Optimizer
    ema: EMA
    noise: torch.Generator
    d_steps: int = 1
    g_steps: int = 1
    joint_batch: bool = False
    d_eval_for_g: bool = False
    clip: float | None = None
    autocast: bool = False
    skip_nonfinite: bool = False
    played: int = 0
    first: FirstBatch | None = None

    def __post_init__(self) -> None:
        device = self.noise.device
        self.skipped = torch.zeros((), dtype=torch.int64, device=device)
        self._bad = torch.zeros((), dtype=torch.bool, device=device)
        self._identities = {player: _Identity(net) for player, net in self._players().items()}
        self._parameters = {
            player: dict(net.named_parameters()) for player, net in self._players().items()
        }
        self.monitors = {
            player: NonFiniteMonitor(
                [
                    f"{player}'s loss",
                    *(f"gradient of {player}.{name}" for name in self._names(net)),
                ],
                device,
            )
            for player, net in self._players().items()
        }

    def play(self, batch: Batch) -> Step:
        """Play one iteration: ``d_steps`` updates of D, then ``g_steps`` of G.

        Args:
            batch: Returns a fresh batch of real samples with their labels or None.

        Returns:
            The last phase's ``Step`` with the scalars of both phases, each as it was reported
            last, and, where G's phase saw no real samples, those of D's last update. Nothing in
            it has waited for the device.

        Raises:
            ConfigError: If the loss reports what is no number or by a name of ganzoo's own, a net
                exchanges its tensors for others of other names or shapes, or somebody's autocast
                is on that keeps cast weights over updates.
            ContractError: If the first iteration shows that nets or loss break their contract.
        """
        foreign_autocast(self.noise.device)
        if self.first is not None:
            self.first.begin(self.generator, self.discriminator, self.loss)
        scalars: dict[str, Tensor] = {}
        for _ in range(self.d_steps):
            real, labels = batch()
            with self._undoing():
                step = self._discriminator_phase(real, labels)
            scalars.update(step.scalars)
        for _ in range(self.g_steps):
            fresh = batch() if self.loss.generator_sees_real else (None, labels)
            with self._undoing():
                step = self._generator_phase(len(real), *fresh)
            self.ema.update()
            scalars.update(step.scalars)
        self.played += 1
        self.first = None
        step.real = real if step.real is None else step.real
        step.discriminator = self.discriminator
        step.scalars = scalars
        return step

    @property
    def alarm(self) -> Tensor:
        """Whether any loss or gradient ever was not finite: a 0-d bool on the device."""
        return torch.stack([monitor.alarm for monitor in self.monitors.values()]).any()

    def rate(self, factor: float) -> None:
        """Set both learning rates to ``factor`` times those they were built with."""
        for optimizer in (self.g_optimizer, self.d_optimizer):
            for group in optimizer.param_groups:
                group["lr"] = group.setdefault("initial_lr", group["lr"]) * factor

    def _discriminator_phase(self, real: Tensor, labels: Tensor | None) -> Step:
        with self._precision():
            latent = self._draw(len(real))
            with torch.no_grad():  # D learns nothing through G
                fake = self._make(latent, labels)
            if self.joint_batch:
                both = None if labels is None else torch.cat((labels, labels))
                real_output, fake_output = _halves(self.judge(torch.cat((real, fake)), both))
            else:
                real_output, fake_output = self.judge(real, labels), self.judge(fake, labels)
        step = self._step(latent, fake, real, labels, real_output, fake_output)
        loss = self._loss("discriminator", step)
        norm = self._update("discriminator", self.d_optimizer, loss, step)
        (self.first or self.loss).constrain(self.discriminator)
        score = (self.first or self.loss).score
        step.scalars = self._reported(step) | {
            "d_loss": loss.detach(),
            "d_grad": norm,
            "d_real": score(real_output.logits.detach()).mean(),
            "d_fake": score(fake_output.logits.detach()).mean(),
        }
        return step

    def _generator_phase(self, count: int, real: Tensor | None, labels: Tensor | None) -> Step:
        judge = self.discriminator
        # Gradients of its weights would be thrown away.
        with frozen(judge), evaluating(judge, self.d_eval_for_g):
            with self._precision():
                latent = self._draw(count)
                fake = self._make(latent, labels)
                fake_output = self.judge(fake, labels)
                with torch.no_grad():  # D is frozen and G has no part in real samples
                    real_output = None if real is None else self.judge(real, labels)
            step = self._step(latent, fake, real, labels, real_output, fake_output)
            loss = self._loss("generator", step)
            norm = self._update("generator", self.g_optimizer, loss, step)
        step.scalars = self._reported(step) | {"g_loss": loss.detach(), "g_grad": norm}
        return step

    def _step(
        self,
        latent: Tensor,
        fake: Tensor,
        real: Tensor | None,
        labels: Tensor | None,
        real_output: Output | None,
        fake_output: Output,
    ) -> Step:
        return Step(
            number=self.played,
            generator=self.generator,
            discriminator=Judge(
                self.discriminator, self.noise.device.type if self.autocast else None
            ),
            latent=latent,
            fake=fake,
            real=real,
            labels=labels,
            real_output=real_output,
            fake_output=fake_output,
        )

    def _reported(self, step: Step) -> dict[str, Tensor]:
        """What the loss has written into a phase's scalars, as 0-d tensors on the device."""
        reported, device = {}, self.noise.device
        for name, value in step.scalars.items():
            if not isinstance(name, str) or not name:
                raise ConfigError(
                    f"Loss '{self.loss.name}' reports a number by the name {quoted(name)}. Give it "
                    f"a name of letters, such as 'gradient_penalty'."
                )
            if name in OWN:
                raise ConfigError(
                    f"Loss '{self.loss.name}' reports a number as '{name}', a name that rows have "
                    f"already. Report it by another one than {listing(OWN)}."
                )
            try:
                if not torch.is_tensor(value):
                    reported[name] = torch.full((), float(value), device=device)  # nobody waits
                    continue
                if value.numel() == 1 and not value.is_complex():
                    reported[name] = value.detach().reshape(()).to(device)
                    continue
                kind = "complex " * value.is_complex()
                what = f"a {kind}tensor of shape {tuple(value.shape)}"
            except (TypeError, ValueError, OverflowError):
                what = quoted(value)
            raise ConfigError(
                f"Loss '{self.loss.name}' reports {what} as '{name}'. Report one number: a float "
                f"or a 0-d tensor, such as a mean over the batch."
            )
        return reported

    def _precision(self) -> contextlib.AbstractContextManager[Any]:
        if not self.autocast:
            return contextlib.nullcontext()  # a switched-off autocast costs small nets a tenth
        return torch.autocast(self.noise.device.type, torch.bfloat16)

    def _draw(self, count: int) -> Tensor:
        return self.latent.sample(count, generator=self.noise, device=self.noise.device)

    def judge(self, samples: Tensor, labels: Tensor | None = None) -> Output:
        """Return what D says of samples (N, *shape), its logits in float32."""
        if self.first is not None:
            return self.first.judge(self.discriminator, samples, labels)
        # Losses work in float32 whatever the nets computed in.
        return Output.of(self.discriminator(samples, labels))

    def _make(self, latent: Tensor, labels: Tensor | None) -> Tensor:
        """Samples of the generator."""
        if self.first is not None:
            return self.first.make(self.generator, self.ema.module, latent, labels)
        samples: Tensor = self.generator(latent, labels)
        return samples

    def _loss(self, player: str, step: Step) -> Tensor:
        """One player's loss: a scalar."""
        if self.first is not None:
            return self.first.loss_of(player, step)
        of_g = player == "generator"
        loss = self.loss.generator_loss(step) if of_g else self.loss.discriminator_loss(step)
        return check_scalar(loss, player)

    def _update(
        self, player: str, optimizer: torch.optim.Optimizer, loss: Tensor, step: Step
    ) -> Tensor:
        """Follow the gradient of a loss; returns its norm before clipping."""
        if self._identities[player].changed:
            self._exchange(player, optimizer)
        optimizer.zero_grad(set_to_none=True)
        if self.first is None:
            loss.backward()  # type: ignore[no-untyped-call]
        else:
            self.first.backward(player, loss)
            self.first.check_update(player, self._players()[player], step)
        parameters = [item for group in optimizer.param_groups for item in group["params"]]
        norms = gradient_norms(parameters, loss)
        norm: Tensor = torch.linalg.vector_norm(norms)
        numbers = torch.cat((loss.detach().to(norms.dtype).reshape(1), norms))
        self._bad = self.monitors[player].note(self.played + 1, numbers)
        if self.clip is not None:
            nn.utils.clip_grads_with_norm_(parameters, self.clip, norm)
        if not self.skip_nonfinite:
            optimizer.step()
        elif _can_skip(optimizer) and loss.device.type in ("cpu", "cuda"):
            # The kernel itself leaves everything as it was, and nobody waits for the device.
            optimizer.found_inf = self._bad.float()  # type: ignore[attr-defined]
            optimizer.step()
        elif not self._bad:
            optimizer.step()
        if self.autocast:  # in somebody's block, ours does not end the cache of cast weights
            torch.clear_autocast_cache()
        return norm

    def _exchange(self, player: str, optimizer: torch.optim.Optimizer) -> None:
        """Have the optimizer train the parameters that a net has now, with the state of the old.

        A net may be given others from outside (``load_state_dict(assign=True)``), and some give
        themselves others.
        """
        net = self._players()[player]
        before, now = self._parameters[player], dict(net.named_parameters())
        _same_tensors(player, before, now)
        others = {before[name]: now[name] for name in now if before[name] is not now[name]}
        for group in optimizer.param_groups:
            group["params"] = [others.get(item, item) for item in group["params"]]
        for old, new in others.items():
            if old in optimizer.state:
                optimizer.state[new] = optimizer.state.pop(old)
        self._parameters[player], self._identities[player] = now, _Identity(net)

    @contextlib.contextmanager
    def _undoing(self) -> Iterator[None]:
        """Undo what a phase did to the nets' buffers if its update was left out."""
        if not self.skip_nonfinite:
            yield
            return
        before = {place: buffer.clone() for place, buffer in self._buffers()}
        yield
        with torch.no_grad():
            for place, buffer in self._buffers():  # which may be another object by now
                old = before.get(place)
                if old is not None and old.shape == buffer.shape:
                    buffer.copy_(torch.where(self._bad, old, buffer))
        self.skipped += self._bad

    def _buffers(self) -> Iterator[tuple[tuple[str, str], Tensor]]:
        for player, net in self._players().items():
            for name, buffer in net.named_buffers():
                yield (player, name), buffer

    # -- the whole state ----------------------------------------------------------------------

    def nets(self) -> dict[str, nn.Module]:
        """Return ``generator``, ``discriminator`` and ``ema``."""
        return {**self._players(), "ema": self.ema.module}

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return everything that decides how the game goes on: tensors, by name, and the rest.

        The tensors are those that are played with, not copies.
        """
        tensors = {
            f"{part}.{name}": value
            for part, net in self.nets().items()
            for name, value in net.state_dict().items()
        }
        optimizers = {}
        for name, optimizer, net in self._trained():
            packed, optimizers[name] = checkpoint.pack_optimizer(name, optimizer, self._names(net))
            tensors.update(packed)
        tensors["skipped"] = self.skipped
        return tensors, {
            "step": self.played,
            "ema_updates": self.ema.updates,
            "optimizers": optimizers,
        }

    def restore(self, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
        """Go on from a state.

        Raises:
            RuntimeError, KeyError, ValueError: If it is of other nets or optimizers.
        """
        for part, net in self.nets().items():
            lead = f"{part}."
            net.load_state_dict(
                {k.removeprefix(lead): v for k, v in tensors.items() if k.startswith(lead)}
            )
        for name, optimizer, net in self._trained():
            rest = state["optimizers"][name]
            checkpoint.unpack_optimizer(name, optimizer, self._names(net), tensors, rest)
        self.skipped.copy_(tensors["skipped"])
        self.played = state["step"]
        self.ema.updates = state["ema_updates"]
        if self.first is not None:
            self.first.fresh = False
        for monitor in self.monitors.values():
            monitor.reset()

    def _players(self) -> dict[str, nn.Module]:
        return {"discriminator": self.discriminator, "generator": self.generator}

    def _trained(self) -> list[tuple[str, torch.optim.Optimizer, nn.Module]]:
        return [
            ("g_optimizer", self.g_optimizer, self.generator),
            ("d_optimizer", self.d_optimizer, self.discriminator),
        ]

    @staticmethod
    def _names(net: nn.Module) -> list[str]:
        """Names of a net's parameters, in the order in which its optimizer has them."""
        return [name for name, _ in net.named_parameters()]


def _same_tensors(player: str, before: Mapping[str, Tensor], now: Mapping[str, Tensor]) -> None:
    """Refuse a net that has tensors of other names or shapes than it was built with.

    Raises:
        ConfigError: With the first that differs.
    """
    for name in (*before, *now):
        if name not in now:
            fact = f"has no tensor '{name}' any more"
        elif name not in before:
            fact = f"has a new tensor '{name}'"
        elif before[name].shape != now[name].shape:
            was, is_ = tuple(before[name].shape), tuple(now[name].shape)
            fact = f"has a tensor '{name}' of shape {is_}, which was {was}"
        else:
            continue
        raise ConfigError(
            f"The {player} {fact} since it was built: the average, the optimizer and what is "
            f"saved know those that its architecture builds. Have it build all of its parameters "
            f"and buffers at once, in their final shape."
        )


def _can_skip(optimizer: torch.optim.Optimizer) -> bool:
    """Whether it leaves out an update by itself: the fused Adams do, on some devices."""
    return isinstance(optimizer, torch.optim.Adam) and bool(optimizer.defaults["fused"])


def _halves(output: Output) -> tuple[Output, Output]:
    def split(value: Tensor | None) -> tuple[Any, Any]:
        return (None, None) if value is None else (value.chunk(2)[0], value.chunk(2)[1])

    logits, classes, features = split(output.logits), split(output.classes), split(output.features)
    return Output(logits[0], classes[0], features[0]), Output(logits[1], classes[1], features[1])
