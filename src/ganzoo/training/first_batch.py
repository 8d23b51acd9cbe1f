"""The first iteration of a training, watched: mistakes of plug-ins are named before they cost."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from ganzoo.core import seeds
from ganzoo.errors import ContractError, listing
from ganzoo.losses.base import Loss
from ganzoo.training import contract
from ganzoo.training import contract_nets as on_nets

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ganzoo.architectures.base import Architecture
    from ganzoo.core.spec import SampleSpec
    from ganzoo.core.step import Output, Step

__all__ = ["FirstBatch"]


class FirstBatch:
    """Checks the first iteration of a game while it is played, without changing its numbers.

    Further trials run on copies, and all random generators stay as they were.

    Args:
        arch: The architecture of both nets.
        spec: What a sample is.
        fresh: Whether the weights are initial ones: values of trained nets are not checked.
        skipping: Whether the game leaves out updates that are not finite: the first may be one.
        packing: Samples that D sees together.
    """

    def __init__(
        self,
        arch: Architecture,
        spec: SampleSpec,
        fresh: bool,
        skipping: bool = False,
        packing: int = 1,
    ) -> None:
        self._packing = packing
        self.arch, self.spec, self.fresh, self._skipping = arch, spec, fresh, skipping
        self.notices: list[str] = []
        """What is odd and does no harm, a line each."""
        self.loss: Loss
        self._nets: tuple[nn.Module, nn.Module] | None = None
        self._trained: frozenset[str] = frozenset()  # parameters of D, which G's phase freezes
        self._inputs: tuple[Tensor, Tensor | None] | None = None
        self._tried = False

    def begin(self, generator: nn.Module, discriminator: nn.Module, loss: Loss) -> None:
        """Take the players before anything is frozen."""
        self._nets, self.loss = (generator, discriminator), loss
        named = discriminator.named_parameters()
        self._trained = frozenset(name for name, weight in named if weight.requires_grad)

    def make(
        self, generator: nn.Module, copied: nn.Module, latent: Tensor, labels: Tensor | None
    ) -> Tensor:
        """Return G's samples of latents; ``copied`` is a copy of it in evaluation mode."""
        self._inputs = latent, labels
        with contract.attributed_to(self.arch):
            on_nets.check_signature(generator, "generator", (latent, labels))
            samples = on_nets.make(generator, latent, labels, self.spec)
            if self._is_sound([generator], [latent]):
                on_nets.check_values(samples, self.spec)
                if not self._tried:
                    self._tried = True
                    self._try(copied, latent, labels)
            if torch.is_grad_enabled() and not samples.requires_grad:
                self._check_gradients()
        return samples

    def _try(self, copied: nn.Module, latent: Tensor, labels: Tensor | None) -> None:
        classes = len(self.spec.classes or ()) if self.arch.conditional else 0
        on_nets.check_generator(copied, latent, labels, self.spec, classes)
        try:
            with contextlib.suppress(RuntimeError):  # nets without a gradient in eval mode
                on_nets.check_whole_latent(copied, latent, labels)
        except ContractError as fault:  # a waste, but it trains
            self.notices.append(str(fault))

    def judge(self, discriminator: nn.Module, samples: Tensor, labels: Tensor | None) -> Output:
        """Return D's output on samples."""
        with contract.attributed_to(self.arch):
            on_nets.check_signature(discriminator, "discriminator", (samples, labels))
            output = on_nets.judge(discriminator, samples, labels)
            if self._is_sound([discriminator], [samples]):
                on_nets.check_logits(output)
            if torch.is_grad_enabled() and not output.logits.requires_grad:
                self._check_gradients()
        return output

    def loss_of(self, player: str, step: Step) -> Tensor:
        """Return one player's loss of a phase."""
        assert self._nets is not None
        outputs = [each for each in (step.real_output, step.fake_output) if each is not None]
        for output in outputs:
            if player == "discriminator" and output.logits.requires_grad:
                output.logits.retain_grad()
        before = [output.logits.detach().clone() for output in outputs]
        with contract.attributed_to(self.loss):
            value = contract.loss_of(self.loss, player, step)
            for output, old in zip(outputs, before, strict=True):
                contract.check_logits_kept(old, output.logits)
            if before and not self._skipping and self._is_sound(self._nets, before):
                scale = max(logits.abs().mean().item() for logits in before)
                contract.check_loss_finite(value.detach(), player, scale)
        return value

    def _is_sound(self, nets: Sequence[nn.Module], inputs: Sequence[Tensor]) -> bool:
        """Whether values may be checked: initial, finite weights and finite inputs."""
        weights = [weight for net in nets for weight in net.parameters()]
        floats = (value for value in (*inputs, *weights) if value.is_floating_point())
        return self.fresh and all(bool(value.isfinite().all()) for value in floats)

    def backward(self, player: str, loss: Tensor, penalties: Sequence[str] = ()) -> None:
        """Take the gradients of a loss, to which these penalties may have been added."""
        what = f"the {player}'s loss"
        if penalties:
            what += f" with {listing(penalties)}"
        try:
            with contextlib.nullcontext() if penalties else contract.attributed_to(self.loss):
                on_nets.backward(loss, what)
        except ContractError:
            with contract.attributed_to(self.arch):
                self._check_gradients()
            raise

    def check_update(self, player: str, net: nn.Module, step: Step) -> None:
        """Check the gradients of a loss before the update."""
        gradients = [weight.grad for weight in net.parameters() if weight.requires_grad]
        if any(gradient is None for gradient in gradients):
            with contract.attributed_to(self.arch):
                self._check_gradients()
        with contract.attributed_to(self.loss):
            contract.check_loss_reaches(player, gradients)
            general = getattr(type(self.loss), "discriminator_loss", None)
            if player == "discriminator" and general is Loss.discriminator_loss:
                for side, output in (("real", step.real_output), ("fake", step.fake_output)):
                    if output is not None and output.logits.requires_grad:
                        contract.check_logits_used(side, output.logits.grad is not None)

    def score(self, logits: Tensor) -> Tensor:
        """Return what the loss shows of logits."""
        with contract.attributed_to(self.loss):
            return contract.check_score(self.loss, logits)

    def constrain(self, discriminator: nn.Module) -> None:
        """Restrict D's weights as the loss wants it."""
        with contract.attributed_to(self.loss):
            contract.constrain(self.loss, discriminator)

    def _check_gradients(self) -> None:
        """Find out, by copies, whether a missing gradient is the nets' fault."""
        assert self._nets is not None and self._inputs is not None
        latent, labels = self._inputs
        generator, discriminator = copy.deepcopy(self._nets)
        for name, weight in discriminator.named_parameters():
            weight.requires_grad_(name in self._trained)
        with seeds.preserve_rng_state(latent.device), torch.enable_grad():
            nets = generator.train(), discriminator.train()
            on_nets.check_gradients(*nets, latent, labels, self._packing)
