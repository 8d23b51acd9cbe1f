"""The game: one iteration of generator against discriminator."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from ganzoo.core.nets import evaluating, frozen, last_input
from ganzoo.core.step import OWN, Judge, Output, Step, packed
from ganzoo.errors import ConfigError, ContractError, listing, quoted
from ganzoo.training.contract import blaming, check_scalar, describe, require
from ganzoo.training.first_batch import FirstBatch
from ganzoo.training.micro_batches import detached, joined
from ganzoo.training.parts import Part, State, as_part, named
from ganzoo.training.player import Player

if TYPE_CHECKING:
    from torch import Tensor

    from ganzoo.augmentations import Augmentation
    from ganzoo.core.component import Component
    from ganzoo.core.spec import LatentSpec
    from ganzoo.losses.base import Loss
    from ganzoo.penalties import Penalty
    from ganzoo.training.ema import EMA

__all__ = ["Game", "Term", "outer_autocast"]

Batch = Callable[[], "tuple[Tensor, Tensor | None]"]


def outer_autocast(device: torch.device) -> torch.dtype | None:
    """Refuse an autocast around the training that caches weights from before an update.

    Returns:
        The type that an autocast without such a cache computes in; None without any autocast.

    Raises:
        ConfigError: If there is one that caches cast weights, as it does by default.
    """
    if not torch.is_autocast_enabled(device.type):
        return None
    dtype = torch.get_autocast_dtype(device.type)
    if torch.is_autocast_cache_enabled():
        raise ConfigError(
            f"torch.autocast('{device.type}', {dtype}) is on around the training. It caches cast "
            f"weights until its block ends, so that nets would go on computing with those from "
            f"before their updates. Train outside of the block; precision='bf16' computes in "
            f"bfloat16."
        )
    return dtype


@dataclass(eq=False)
class Term:
    """A penalty at work, what it has built, and its weight now if a schedule sets it."""

    penalty: Penalty
    built: Any = None
    weight: float | None = None

    @property
    def part(self) -> str:
        """Name of its part of the state."""
        return f"penalty-{self.penalty.name.replace('.', '-')}"

    def column(self, player: str) -> str:
        """Return the name of its mean in a player's phase."""
        both = len(self.penalty.players) > 1
        return f"{player[0]}_{self.penalty.name}" if both else self.penalty.name


@dataclass(eq=False)
class Game:
    """Both players, their optimizers and the rules between them.

    Attributes:
        generator: ``(latent, labels) -> samples``.
        discriminator: ``(samples, labels) -> logits (N,) or (N, K)``, or ``Output``.
        loss: What both minimise.
        latent: What the generator is fed.
        g_optimizer, d_optimizer: Of a net's parameters, and those of its ``heads``.
        ema: Averages that follow the generator after each of its updates.
        noise: Source of the latents, on the device.
        d_steps: Updates of D per iteration, each on fresh real and generated samples.
        g_steps: Updates of G per iteration.
        packing: Samples that D sees together, joined on their first axis.
        accumulate: Micro-batches that a batch is computed in, one after the other.
        joint_batch: Show D real and generated samples as one batch instead of two.
        d_eval_for_g: Put D in evaluation mode in G's phase.
        clip: Largest norm of a net's gradient; None leaves it as it is.
        autocast: Multiply matrices in bfloat16.
        adversarial_weight: Factor of the loss in G's phase; penalties are not multiplied.
        skip_nonfinite: Leave out updates whose loss or gradient is not finite: weights,
            optimizers and buffers stay as they were. The average moves on.
        played: Iterations finished.
        first: Checks the first iteration that this game plays, and is then dropped.
        built: What the loss has built.
        terms: The penalties.
        augmentation: What all samples pass through before D: the component and its module.
        heads: Modules of losses, penalties and augmentation by player and by part.
        further: Other nets of the loss.
        skipped: How many updates have been left out: a 0-d tensor on the device.
        players: All nets in training, by name.
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
    packing: int = 1
    accumulate: int = 1
    joint_batch: bool = False
    d_eval_for_g: bool = False
    clip: float | None = None
    autocast: bool = False
    adversarial_weight: float = 1.0
    skip_nonfinite: bool = False
    played: int = 0
    first: FirstBatch | None = None
    built: Any = None
    terms: Sequence[Term] = ()
    augmentation: tuple[Augmentation, nn.Module] | None = None
    heads: Mapping[str, Mapping[str, nn.Module]] = field(default_factory=dict)
    further: Sequence[Player] = ()

    def __post_init__(self) -> None:
        self.skipped = torch.zeros((), dtype=torch.int64, device=self.noise.device)
        players = [
            self._player("discriminator", self.discriminator, self.d_optimizer),
            self._player("generator", self.generator, self.g_optimizer, self.ema),
            *self.further,
        ]
        self.players = {player.name: player for player in players}
        self._augment = None if self.augmentation is None else self.augmentation[1]
        self._real: Tensor | None = None  # the newest batch
        self._scalars: dict[str, Tensor] = {}  # of this iteration
        self._updated: dict[str, Player] = {}  # in this phase
        self._evaluated: set[str] = set()  # in the first iteration: penalties, and the weight
        self._collects = False  # features of D, in this phase
        self.generator_sees_real = self.loss.generator_sees_real or any(
            term.penalty.generator_sees_real for term in self.terms
        )

    def _player(
        self, name: str, net: nn.Module, optimizer: torch.optim.Optimizer, ema: EMA | None = None
    ) -> Player:
        return Player(
            name,
            net,
            optimizer,
            self.noise.device,
            ema=ema,
            heads=self.heads.get(name),
            clip=self.clip,
            skipping=self.skip_nonfinite,
            autocast=self.autocast,
        )

    def play(self, batch: Batch) -> Step:
        """Play one iteration, by default ``d_steps`` updates of D, then ``g_steps`` of G.

        Args:
            batch: Returns a fresh batch of real samples with their labels or None.

        Returns:
            The last phase's ``Step`` with the newest scalars of all phases and, where G's phase saw
            no real samples, those of D's last update. There was no host-device sync.

        Raises:
            ConfigError: If a component reports what is not a number or by a name of ganzoo's own, a
                net exchanges its tensors for others of other names or shapes, or an autocast is
                on that caches weights from before their updates.
            ContractError: If the first iteration shows that nets or loss break their contract.
        """
        outer_autocast(self.noise.device)
        if self.first is not None:
            self.first.begin(self.generator, self.discriminator, self.loss)
        self._scalars = {}
        step = self.loss.iteration(self, batch)
        if self.first is not None:
            self._check_effects()
        self.played += 1
        self.first = None
        step.real = self._real if step.real is None else step.real
        step.discriminator, step.built = self.discriminator, None
        own = {name: step.scalars[name] for name in step.scalars.keys() - self._scalars.keys()}
        step.scalars = self._scalars | (_reported(own, self.loss, self.noise.device) if own else {})
        return step

    # -- the two phases -----------------------------------------------------------------------

    def update_discriminator(self, real: Tensor, labels: Tensor | None) -> Step:
        """Play D's phase on real samples (N, *shape) and as many generated ones."""
        self._real = real
        wanted = self._wanted("discriminator")
        self._collects = "features" in wanted
        with self.phase():
            parts = self._parts(self.draw(len(real)), real, labels)
            step = self._follow("discriminator", (self._judged(*part, wanted) for part in parts))
            (self.first or self.loss).constrain(self.discriminator)
            if self.augmentation is not None:
                self._adapt(*self.augmentation, step)
        self._scalars |= step.scalars
        return step

    def _judged(
        self, latent: Tensor, real: Tensor, labels: Tensor | None, wanted: frozenset[str]
    ) -> Step:
        """D on real samples and on as many generated ones."""
        with self.precision():
            with torch.no_grad():  # D learns nothing through G
                fake = self.make(latent, labels)
            if "real" in wanted:
                real = real.detach().requires_grad_()
            if "fake" in wanted:
                fake = fake.to(real.dtype).requires_grad_()
            if self.joint_batch:
                both = None if labels is None else torch.cat((labels, labels))
                real_output, fake_output = _halves(self.judge(torch.cat((real, fake)), both))
            else:
                real_output, fake_output = self.judge(real, labels), self.judge(fake, labels)
        return self._step("discriminator", latent, fake, real, labels, real_output, fake_output)

    def update_generator(self, count: int, real: Tensor | None, labels: Tensor | None) -> Step:
        """Play G's phase on ``count`` generated samples; ``real`` for losses that need it."""
        # Gradients of D's weights would be thrown away.
        with (
            self.phase(),
            frozen(*self.players["discriminator"].modules.values()),
            evaluating(self.discriminator, self.d_eval_for_g),
        ):
            self._collects = "features" in self._wanted("generator")
            parts = self._parts(self.draw(count), real, labels)
            step = self._follow("generator", (self._made(*part) for part in parts))
        self._scalars |= step.scalars
        return step

    def _made(self, latent: Tensor, real: Tensor | None, labels: Tensor | None) -> Step:
        """D on generated samples and, for losses that need them, on real ones."""
        with self.precision():
            fake = self.make(latent, labels)
            fake_output = self.judge(fake, labels)
            with torch.no_grad():  # D is frozen and G has no part in real samples
                real_output = None if real is None else self.judge(real, labels)
        return self._step("generator", latent, fake, real, labels, real_output, fake_output)

    def _parts(
        self, latent: Tensor, real: Tensor | None, labels: Tensor | None
    ) -> Iterator[tuple[Tensor, Any, Tensor | None]]:
        """A batch in its micro-batches: latents, real samples, labels."""
        count = self.accumulate
        if count == 1:  # the very tensors
            yield latent, real, labels
            return
        rows = [[None] * count if each is None else each.chunk(count) for each in (real, labels)]
        yield from zip(latent.chunk(count), *rows, strict=True)

    def _follow(self, player: str, steps: Iterator[Step]) -> Step:
        """Update a player by the mean, over micro-batches, of its loss and penalties.

        Returns:
            The step; of micro-batches, one of the whole batch, with the means of all scalars.
        """
        self.players[player].prepare()
        seen: list[Step] = []
        totals: list[Tensor] = []
        for step in steps:
            total, found = self._total(player, step)
            total = total if self.accumulate == 1 else total / self.accumulate
            totals.append(total.detach())
            if player == "discriminator":
                found |= self._shown(step)
            self._backward(player, total, step)
            step.scalars = found
            seen.append(step if self.accumulate == 1 else detached(step))
        step = seen[0] if self.accumulate == 1 else joined(seen)
        letter = player[0]
        norm = self._advance(player, torch.stack(totals).sum() if totals[1:] else totals[0])
        step.scalars[f"{letter}_grad"] = norm
        return step

    def _shown(self, step: Step) -> dict[str, Tensor]:
        """Means of D(x) and D(G(z)) as the loss scores them."""
        score = (self.first or self.loss).score
        outputs = {"d_real": step.real_output, "d_fake": step.fake_output}
        return {
            name: score(output.logits.detach()).mean()
            for name, output in outputs.items()
            if output is not None
        }

    def _total(self, player: str, step: Step) -> tuple[Tensor, dict[str, Tensor]]:
        """A player's loss with its penalties, and what is reported."""
        step.built = self.built
        if self.first is not None:
            loss = self.first.loss_of(player, step)
        elif player == "generator":
            loss = check_scalar(self.loss.generator_loss(step), player)
        else:
            loss = check_scalar(self.loss.discriminator_loss(step), player)
        scalars = _reported(step.scalars, self.loss, self.noise.device)
        total = loss
        if player == "generator" and self.adversarial_weight != 1:
            self._evaluated.add("adversarial_weight")
            total = loss * self.adversarial_weight
        for term in self._due(player):
            penalty, step.scalars, step.built = term.penalty, {}, term.built
            value = self._evaluated_term(term, step)
            weight = penalty.weight if term.weight is None else term.weight
            total = total + value * (weight * penalty.every)
            step.scalars[term.column(player)] = value
            scalars |= _reported(step.scalars, penalty, self.noise.device)
        return total, scalars | {f"{player[0]}_loss": loss.detach()}

    def _evaluated_term(self, term: Term, step: Step) -> Tensor:
        if self.first is None:
            return _checked_term(term.penalty, term.penalty.penalty(step))
        self._evaluated.add(term.part)
        with blaming(named(term.penalty), "Correct it there."):
            value = term.penalty.penalty(step)
        return _checked_term(term.penalty, value)

    def _check_effects(self) -> None:
        """Refuse penalties and a weight of the loss that the first iteration left out."""
        if self.adversarial_weight != 1 and "adversarial_weight" not in self._evaluated:
            raise ConfigError(
                f"adversarial_weight has no effect with loss '{self.loss.name}', whose iteration "
                f"does not play G's phase. Leave it at 1, or have the loss call update_generator."
            )
        for term in [*self._due("discriminator"), *self._due("generator")]:
            if term.part not in self._evaluated:
                raise ConfigError(
                    f"Penalty '{term.penalty.name}' has no effect with loss '{self.loss.name}', "
                    f"whose iteration does not play the phases that evaluate penalties. Leave the "
                    f"penalty out, or have the loss call update_discriminator and update_generator."
                )

    def _due(self, player: str) -> list[Term]:
        """A player's penalties whose turn it is.

        Those that a schedule holds at 0 have none after the first iteration, in which optimizers
        get their state.
        """
        return [
            term
            for term in self.terms
            if player in term.penalty.players
            and self.played % term.penalty.every == 0
            and (term.weight != 0 or self.played == 0)
        ]

    def _wanted(self, player: str) -> frozenset[str]:
        """What loss and penalties of a phase need of D's pass."""
        return self.loss.wants.union(*(term.penalty.wants for term in self._due(player)))

    def _adapt(self, augmentation: Augmentation, module: nn.Module, step: Step) -> None:
        scalars, step.scalars, step.built = step.scalars, {}, None
        output = step.real_output
        assert output is not None
        with torch.no_grad():
            step.real_output = replace(output, logits=self.loss.realness(output.logits))
            augmentation.adapt(module, step)
        step.real_output = output
        step.scalars = scalars | _reported(step.scalars, augmentation, self.noise.device)

    # -- what phases are made of --------------------------------------------------------------

    def draw(self, count: int) -> Tensor:
        """Return latents (count, *latent.shape)."""
        return self.latent.sample(count, generator=self.noise, device=self.noise.device)

    def make(self, latent: Tensor, labels: Tensor | None) -> Tensor:
        """Return samples (N, *shape) of the generator in training."""
        if self.first is not None:
            return self.first.make(self.generator, self.ema.module, latent, labels)
        samples: Tensor = self.generator(latent, labels)
        return samples

    def judge(self, samples: Tensor, labels: Tensor | None = None) -> Output:
        """Return what D says of samples (N, *shape), augmented; its logits in float32."""
        if self._augment is not None:
            samples = self._augment(samples)
        samples = packed(samples, self.packing)
        if not self._collects:
            return self._output(samples, labels)
        with last_input(self.discriminator) as features:
            output = self._output(samples, labels)
        return output if output.features is not None else replace(output, features=features[-1])

    def _output(self, samples: Tensor, labels: Tensor | None) -> Output:
        if self.first is not None:
            return self.first.judge(self.discriminator, samples, labels)
        # Losses work in float32 whatever the nets computed in.
        return Output.of(self.discriminator(samples, labels))

    def net(self, name: str) -> nn.Module:
        """Return a net by its name: a player's, or one that the loss brings."""
        return self.players[name].net

    def precision(self) -> contextlib.AbstractContextManager[Any]:
        """Compute in the precision of the training within a block."""
        if not self.autocast:
            return contextlib.nullcontext()  # a switched-off autocast costs small nets a tenth
        return torch.autocast(self.noise.device.type, torch.bfloat16)

    @contextlib.contextmanager
    def phase(self) -> Iterator[None]:
        """Undo what a block does to buffers if its update is left out; then average its nets.

        Only an update within the block counts. State that is no module's, such as a number that
        a component changes, is not undone: a component keeps it finite itself.
        """
        self._updated = {}
        before = {}
        if self.skip_nonfinite:
            before = {place: buffer.clone() for place, buffer in self._buffers()}
        yield
        if self.skip_nonfinite and self._updated:
            bad = torch.stack([player.bad for player in self._updated.values()]).any()
            with torch.no_grad():
                for place, buffer in self._buffers():  # which may be another object by now
                    old = before.get(place)
                    if old is not None and old.shape == buffer.shape:
                        buffer.copy_(torch.where(bad, old, buffer))
            self.skipped += bad
        for player in self._updated.values():
            if player.ema is not None:
                player.ema.update()

    def update(self, player: str, loss: Tensor) -> Tensor:
        """Follow the gradient of a loss with one net; returns its norm before clipping."""
        self.players[player].prepare()
        loss.backward()  # type: ignore[no-untyped-call]
        norm = self._advance(player, loss)
        name = player[0] if player in ("generator", "discriminator") else player
        self._scalars |= {f"{name}_loss": loss.detach(), f"{name}_grad": norm}
        return norm

    def _backward(self, player: str, total: Tensor, step: Step) -> None:
        """Add the gradients of a loss with its penalties."""
        if self.first is None:
            total.backward()  # type: ignore[no-untyped-call]
        else:
            self.first.backward(player, total, [term.penalty.name for term in self._due(player)])
            self.first.check_update(player, self.players[player].net, step)

    def _advance(self, player: str, loss: Tensor) -> Tensor:
        """Follow the gradients that there are; returns their norm before clipping."""
        chosen = self.players[player]
        norm = chosen.update(self.played + 1, loss)
        self._updated[player] = chosen
        return norm

    def _step(self, player: str, latent: Tensor, fake: Tensor, *seen: Any) -> Step:
        autocast = self.noise.device.type if self.autocast else None
        judge = Judge(self.discriminator, autocast, self._augment, self.packing)
        step = Step(self.played, self.generator, judge, latent, fake, *seen)
        step.player, step.share = player, 1 / self.accumulate
        return step

    def _buffers(self) -> Iterator[tuple[tuple[str, str], Tensor]]:
        for player in self.players.values():
            yield from player.buffers()

    # -- the whole --------------------------------------------------------------------------------

    @property
    def alarm(self) -> Tensor:
        """Whether any loss or gradient ever was not finite: a 0-d bool on the device."""
        return torch.stack([player.monitor.alarm for player in self.players.values()]).any()

    def rate(self, factor: float) -> None:
        """Set all learning rates to ``factor`` times those they were built with."""
        for player in self.players.values():
            player.rate(factor)

    def nets(self) -> dict[str, nn.Module]:
        """Return ``generator``, ``discriminator`` and ``ema``, and further nets of the loss."""
        return {name: player.net for name, player in self.players.items()} | {
            "ema": self.ema.module
        }

    def use_average(self, number: int) -> None:
        """Use another of the averages that are kept at once, of all nets that have some."""
        for player in self.players.values():
            if player.ema is not None:
                player.ema.chosen = number

    def parts(self) -> dict[str, Part]:
        """Return all parts with state, by name, in the order of restoring."""
        found: list[tuple[str, Part]] = [("game", self)]
        for player in self.players.values():
            found += player.parts().items()
        builders: list[tuple[str, Component, Any]] = [("loss", self.loss, self.built)]
        builders += [(term.part, term.penalty, term.built) for term in self.terms]
        if self.augmentation is not None:
            builders.append(("augmentation", *self.augmentation))
        found += [(name, as_part(by, built)) for name, by, built in builders if built is not None]
        parts = dict(found)
        if len(parts) < len(found):
            names = [name for name, _ in found]
            twice = next(name for name in names if names.count(name) > 1)
            raise ContractError(
                f"Two parts of this training are called '{twice}', and one could not be saved. "
                f"Give the net of loss '{self.loss.name}', or the penalty, another name."
            )
        return parts

    def state(self) -> State:
        """Return the game's own state: iterations finished and updates left out."""
        return {"skipped": self.skipped}, {"played": self.played}

    def restore(self, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> None:
        """Go on from a state."""
        self.skipped.copy_(tensors["skipped"])
        self.played = int(values["played"])
        if self.first is not None:
            self.first.fresh = False
        for player in self.players.values():
            player.monitor.reset()


def _reported(
    scalars: Mapping[str, Any], component: Component, device: torch.device
) -> dict[str, Tensor]:
    """What a component has written into a phase's scalars, as 0-d tensors on the device."""
    reported = {}
    who = named(component)
    for name, value in scalars.items():
        if not isinstance(name, str) or not name:
            raise ConfigError(
                f"{who} reports a number by the name {quoted(name)}. Give it a name of "
                f"letters, such as 'gradient_penalty'."
            )
        if name in OWN:
            raise ConfigError(
                f"{who} reports a number as '{name}', a name that rows have already. Report it "
                f"by another one than {listing(OWN)}."
            )
        try:
            if not torch.is_tensor(value):  # written on the device, without sync
                reported[name] = torch.full((), float(value), device=device)
                continue
            if value.numel() == 1 and not value.is_complex():
                reported[name] = value.detach().reshape(()).to(device)
                continue
            kind = "complex " * value.is_complex()
            what = f"a {kind}tensor of shape {tuple(value.shape)}"
        except (TypeError, ValueError, OverflowError):
            what = quoted(value)
        raise ConfigError(
            f"{who} reports {what} as '{name}'. Report one number: a float or a 0-d tensor, "
            f"such as a mean over the batch."
        )
    return reported


def _checked_term(penalty: Penalty, value: Any) -> Tensor:
    require(
        isinstance(value, torch.Tensor) and value.ndim == 0 and value.is_floating_point(),
        f"{named(penalty)} must return a scalar tensor of shape (), not {describe(value)}. Take "
        f"the mean over the batch.",
    )
    term: Tensor = value
    return term


def _halves(output: Output) -> tuple[Output, Output]:
    one: dict[str, Any] = {}
    other: dict[str, Any] = {}
    for name in ("logits", "classes", "features"):
        value = getattr(output, name)
        one[name], other[name] = (None, None) if value is None else value.chunk(2)
    return Output(**one), Output(**other)
