"""Frechet distances between features: FID and its kin."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

import torch
from pydantic import Field

from ganzoo.errors import DataError
from ganzoo.metrics.base import ANY_KIND, Chosen, Metric, Part, Result

if TYPE_CHECKING:
    from ganzoo.core.spec import Kind
    from ganzoo.metrics.inputs import MetricInputs, Moments

__all__ = ["FID", "FDDinov2", "frechet_distance"]


def frechet_distance(a: Moments, b: Moments) -> float:
    """Return the squared Frechet distance between two normal distributions.

    Dowson & Landau 1982 (J. Multivariate Analysis 12), eq. 4:
    |m_a - m_b|^2 + tr(S_a) + tr(S_b) - 2 tr((S_a S_b)^(1/2)).

    The last trace is the sum of the singular values of A B^T for any factors with
    S_a = A^T A and S_b = B^T B: the roots of the eigenvalues of a symmetric matrix that has no
    negative ones, as large as the smaller number of rows. So nothing is ever complex, covariances
    of lower rank need no special care, and with fewer samples than features the matrix is only
    N x N.

    Returns:
        Never negative. The distance of something to itself is 0 up to a millionth of its variance,
        tr(S).

    Raises:
        DataError: If one has fewer than 2 samples, or they have different features.
    """
    if a.dimensions != b.dimensions:
        raise DataError(
            f"The real samples have {a.dimensions:,} features and the generated ones "
            f"{b.dimensions:,}: take both from the same extractor."
        )
    first, second = a.factor, b.factor
    product = first @ second.T if len(first) <= len(second) else second @ first.T
    trace = torch.linalg.eigvalsh(product @ product.T).clamp(min=0).sqrt().sum()
    spread = first.square().sum() + second.square().sum()
    return max(0.0, float((a.mean - b.mean).square().sum() + spread - 2 * trace))


class FID(Metric):
    """Frechet Inception Distance: how far apart real and generated features are, as normals.

    Heusel et al. 2017, arXiv:1706.08500, eq. 6: |m_r - m_f|^2 + tr(S_r + S_f - 2 (S_r S_f)^(1/2))
    with means m and covariances S (divided by N - 1) of the extractor's features. In [0, inf),
    without unit; 0 where both are the same. It falls as samples become more: compare only scores
    of the same number of samples, usually 10,000 or 50,000. With fewer samples than features + 1
    (2,049 of Inception) the covariances lack full rank, and a notice says so.
    """

    citation: ClassVar[str] = (
        'Heusel et al. 2017, "GANs Trained by a Two Time-Scale Update Rule Converge to a Local '
        'Nash Equilibrium", arXiv:1706.08500'
    )
    better: ClassVar[Literal["lower", "higher"]] = "lower"
    requires: ClassVar[tuple[Part, ...]] = ("moments",)
    sample_kinds: ClassVar[tuple[Kind, ...]] = ANY_KIND

    extractor: Chosen = Field(
        "inception", validate_default=True, description="what features are compared"
    )

    def compute(self, real: MetricInputs | None, fake: MetricInputs) -> Result:
        """Compute it from the moments.

        Raises:
            DataError: If all real samples have the same features.
        """
        assert real is not None and real.moments is not None and fake.moments is not None
        if real.moments.constant:
            raise DataError(
                f"All {real.moments.count:,} real samples have the same features, as constant "
                f"images do, so that there is nothing to compare with. Look at the dataset."
            )
        notices = []
        if fake.moments.constant:
            notices.append(
                "All generated samples have the same features: the generator has collapsed."
            )
        fewest, size = min(real.moments.count, fake.moments.count), real.moments.dimensions
        if fewest <= size:
            notices.append(
                f"'{self.name}' of {fewest:,} samples is far too high: {size:,} features need at "
                f"least {size + 1:,} samples for covariances of full rank, and 10,000 to be "
                f"comparable. 'kid' has no such bias."
            )
        return Result(frechet_distance(real.moments, fake.moments), notices=tuple(notices))


class FDDinov2(FID):
    """Frechet distance of DINOv2 features, which agrees better with people than Inception's.

    Stein et al. 2023, arXiv:2306.04675, sec. 4: the formula of ``fid`` on features of DINOv2
    ViT-L/14. In [0, inf); its numbers are larger than FID's and not comparable to them.
    """

    citation: ClassVar[str] = (
        'Stein et al. 2023, "Exposing flaws of generative model evaluation metrics and their '
        'unfair treatment of diffusion models", arXiv:2306.04675'
    )

    extractor: Chosen = Field(
        "dinov2", validate_default=True, description="what features are compared"
    )
