"""Mean and spread of what is streamed in batches, the same in any batching."""

from dataclasses import dataclass

from torch import Tensor

# Below this share of its mean square, a variance is rounding.
CONSTANT = 1e-12


@dataclass(frozen=True)
class Moments:
    """Running mean and spread over images, the same in any batching, in float64.

    Attributes:
        count: number of images.
        mean: their mean.
        squares: the sum of squared deviations from the mean.
    """

    count: int
    mean: Tensor
    squares: Tensor

    @staticmethod
    def of(values: Tensor) -> "Moments":
        """The moments over the last dimension of `values`."""
        mean = values.mean(-1)
        return Moments(values.shape[-1], mean, (values - mean[..., None]).square().sum(-1))

    def merged(self, other: "Moments") -> "Moments":
        """The moments of both together.

        Reference:
            Chan, Golub & LeVeque, Updating Formulae and a Pairwise Algorithm for Computing Sample
            Variances, COMPSTAT 1982.
        """
        count = self.count + other.count
        step = other.mean - self.mean
        return Moments(
            count,
            self.mean + step * (other.count / count),
            self.squares + other.squares + step.square() * (self.count * other.count / count),
        )

    def std(self) -> Tensor:
        """The standard deviation over images (their own, not an estimate of a larger set's)."""
        return (self.squares / self.count).sqrt()

    def constant(self) -> Tensor:
        """Which do not vary: their spread is rounding beside their mean."""
        variance = self.squares / self.count
        return variance <= CONSTANT * (variance + self.mean.square())
