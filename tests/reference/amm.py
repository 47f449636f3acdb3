"""Tables 3-10 and Algorithms 1 and 2 of the paper (arXiv:1807.05344), by hand in plain PyTorch, for comparison.

Written from the paper and its audit, independent of `ammgraph`: every layer stands in the code where it stands in its
table, every loss as the algorithm prints it, every theta is updated by a gradient of its own. Every random tensor is an
argument: dropout masks by the name of the layer on whose input they act, the eps of each ExpN, the one-hot y of the
prior, the coefficients of eq. 18. Convolutions whose sum or output is normalised next have no bias.

Layers that hold the parameters of Gy(x) begin with y, those of Gz(x, .) with z; `x1` ... `x7` of Table 7 are in both.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

Masks = dict[str, Tensor]
Gradients = dict[str, Tensor]


# ---------------------------------------------------------------------- columns of the tables


def dropout(h: Tensor, mask: Tensor, rate: float) -> Tensor:
    """On a layer's input; what stays is scaled by 1 / (1 - rate)."""
    return h * mask / (1 - rate)


def leak(h: Tensor) -> Tensor:
    """Leak 0.2"""
    return torch.where(h > 0, h, 0.2 * h)


def exp_n(h: Tensor, eps: Tensor) -> Tensor:
    """ExpN(x) = exp(0.5 x) * eps, eq. 20."""
    return torch.exp(0.5 * h) * eps


class BatchNorm(nn.Module):
    """(h - mean) / sqrt(variance + 1e-5) * scale + shift, with the statistics of this batch, per channel.

    The variance that normalises is biased; the one that moves the running variance, by 0.1, is not.
    """

    def __init__(self, channels: int):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(channels))
        self.shift = nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_variance", torch.ones(channels))

    def forward(self, h: Tensor) -> Tensor:
        count = h.shape[0] * h.shape[2] * h.shape[3]
        mean = h.sum(dim=(0, 2, 3), keepdim=True) / count
        variance = ((h - mean) ** 2).sum(dim=(0, 2, 3), keepdim=True) / count
        with torch.no_grad():
            unbiased = variance * count / (count - 1)
            self.running_mean.copy_(0.9 * self.running_mean + 0.1 * mean.flatten())
            self.running_variance.copy_(0.9 * self.running_variance + 0.1 * unbiased.flatten())
        normalised = (h - mean) / torch.sqrt(variance + 1e-5)
        return normalised * self.scale[None, :, None, None] + self.shift[None, :, None, None]


# ---------------------------------------------------------------------- MNIST, k = 10


class Table3(nn.Module):
    """MNIST: Gz(x) Gy(x, .) as printed: y reads features of z's stream, and never the sample z."""

    def __init__(self, k: int = 10):
        super().__init__()
        self.y1 = nn.Conv2d(1, 32, 2, bias=False)
        self.z1 = nn.Conv2d(1, 32, 2, bias=False)
        self.y1a_norm = BatchNorm(32)
        self.z1a_norm = BatchNorm(32)
        self.y2 = nn.Conv2d(32, 32, 3, stride=2, bias=False)
        self.z2 = nn.Conv2d(32, 32, 3, stride=2, bias=False)
        self.y2a_norm = BatchNorm(32)
        self.z2a_norm = BatchNorm(32)
        self.y3 = nn.Conv2d(32, 64, 3, stride=2, bias=False)
        self.z3 = nn.Conv2d(32, 64, 3, stride=2, bias=False)
        self.y3a_norm = BatchNorm(64)
        self.z3a_norm = BatchNorm(64)
        self.y4 = nn.Conv2d(64, 64, 3, bias=False)
        self.z4 = nn.Conv2d(64, 64, 3, bias=False)
        self.y4a_norm = BatchNorm(64)
        self.z4a_norm = BatchNorm(64)
        self.y5 = nn.Conv2d(64, 128, 4, bias=False)
        self.z5 = nn.Conv2d(64, 128, 4, bias=False)
        self.y5a_norm = BatchNorm(128)
        self.z5a_norm = BatchNorm(128)
        self.y_mu = nn.Conv2d(128, k, 1)
        self.y_sigma = nn.Conv2d(128, k, 1)
        self.z_mu = nn.Conv2d(128, 64, 1)
        self.z_sigma = nn.Conv2d(128, 64, 1)

    def forward(self, x: Tensor, masks: Masks, eps_y: Tensor, eps_z: Tensor) -> tuple[Tensor, Tensor]:
        y1 = self.y1(dropout(x, masks["y1"], 0.2))
        z1 = self.z1(dropout(x, masks["z1"], 0.2))
        y1a = leak(self.y1a_norm(y1 + z1))
        z1a = leak(self.z1a_norm(z1))
        y2 = self.y2(dropout(y1a, masks["y2"], 0.2))
        z2 = self.z2(dropout(z1a, masks["z2"], 0.2))
        y2a = leak(self.y2a_norm(y2 + z2))
        z2a = leak(self.z2a_norm(z2))
        y3 = self.y3(dropout(y2a, masks["y3"], 0.2))
        z3 = self.z3(dropout(z2a, masks["z3"], 0.2))
        y3a = leak(self.y3a_norm(y3 + z3))
        z3a = leak(self.z3a_norm(z3))
        y4 = self.y4(dropout(y3a, masks["y4"], 0.2))
        z4 = self.z4(dropout(z3a, masks["z4"], 0.2))
        y4a = leak(self.y4a_norm(y4 + z4))
        z4a = leak(self.z4a_norm(z4))
        y5 = self.y5(dropout(y4a, masks["y5"], 0.2))
        z5 = self.z5(dropout(z4a, masks["z5"], 0.2))
        y5a = leak(self.y5a_norm(y5 + z5))
        z5a = leak(self.z5a_norm(z5))
        y = torch.softmax(self.y_mu(y5a) + exp_n(self.y_sigma(y5a), eps_y), dim=1)  # eqs. 8, 9
        z = self.z_mu(z5a) + exp_n(self.z_sigma(z5a), eps_z)
        return y, z


class Table3ReadingY(Table3):
    """q1, eq. 6: the streams change places, and z5a reads W y~, y~ the sample (eq. 10 with y~ for h_y)."""

    def __init__(self, k: int = 10):
        super().__init__(k)
        self.z_from_y = nn.Conv2d(k, 128, 1, bias=False)  # W

    def forward(self, x: Tensor, masks: Masks, eps_y: Tensor, eps_z: Tensor) -> tuple[Tensor, Tensor]:
        y1 = self.y1(dropout(x, masks["y1"], 0.2))
        y2 = self.y2(dropout(leak(self.y1a_norm(y1)), masks["y2"], 0.2))
        y3 = self.y3(dropout(leak(self.y2a_norm(y2)), masks["y3"], 0.2))
        y4 = self.y4(dropout(leak(self.y3a_norm(y3)), masks["y4"], 0.2))
        y5 = self.y5(dropout(leak(self.y4a_norm(y4)), masks["y5"], 0.2))
        y5a = leak(self.y5a_norm(y5))
        y = torch.softmax(self.y_mu(y5a) + exp_n(self.y_sigma(y5a), eps_y), dim=1)
        z1 = self.z1(dropout(x, masks["z1"], 0.2))
        z2 = self.z2(dropout(leak(self.z1a_norm(z1 + y1)), masks["z2"], 0.2))
        z3 = self.z3(dropout(leak(self.z2a_norm(z2 + y2)), masks["z3"], 0.2))
        z4 = self.z4(dropout(leak(self.z3a_norm(z3 + y3)), masks["z4"], 0.2))
        z5 = self.z5(dropout(leak(self.z4a_norm(z4 + y4)), masks["z5"], 0.2))
        z5a = leak(self.z5a_norm(z5 + y5 + self.z_from_y(y)))
        z = self.z_mu(z5a) + exp_n(self.z_sigma(z5a), eps_z)
        return y, z


class Table3ReadingZ(Table3):
    """q2, eq. 7: the table, and y5a reads W z~, z~ the sample."""

    def __init__(self, k: int = 10):
        super().__init__(k)
        self.y_from_z = nn.Conv2d(64, 128, 1, bias=False)  # W

    def forward(self, x: Tensor, masks: Masks, eps_y: Tensor, eps_z: Tensor) -> tuple[Tensor, Tensor]:
        z1 = self.z1(dropout(x, masks["z1"], 0.2))
        z2 = self.z2(dropout(leak(self.z1a_norm(z1)), masks["z2"], 0.2))
        z3 = self.z3(dropout(leak(self.z2a_norm(z2)), masks["z3"], 0.2))
        z4 = self.z4(dropout(leak(self.z3a_norm(z3)), masks["z4"], 0.2))
        z5 = self.z5(dropout(leak(self.z4a_norm(z4)), masks["z5"], 0.2))
        z5a = leak(self.z5a_norm(z5))
        z = self.z_mu(z5a) + exp_n(self.z_sigma(z5a), eps_z)
        y1 = self.y1(dropout(x, masks["y1"], 0.2))
        y2 = self.y2(dropout(leak(self.y1a_norm(y1 + z1)), masks["y2"], 0.2))
        y3 = self.y3(dropout(leak(self.y2a_norm(y2 + z2)), masks["y3"], 0.2))
        y4 = self.y4(dropout(leak(self.y3a_norm(y3 + z3)), masks["y4"], 0.2))
        y5 = self.y5(dropout(leak(self.y4a_norm(y4 + z4)), masks["y5"], 0.2))
        y5a = leak(self.y5a_norm(y5 + z5 + self.y_from_z(z)))
        y = torch.softmax(self.y_mu(y5a) + exp_n(self.y_sigma(y5a), eps_y), dim=1)
        return y, z


class Table4(nn.Module):
    """MNIST: Gz(y), eq. 12; sigma is ExpN of zeros, hence 1."""

    def __init__(self, k: int = 10):
        super().__init__()
        self.z1 = nn.Conv2d(k, 64, 1, bias=False)
        self.z1_norm = BatchNorm(64)
        self.z2 = nn.Conv2d(64, 64, 1, bias=False)
        self.z2_norm = BatchNorm(64)
        self.z_mu = nn.Conv2d(64, 64, 1)

    def forward(self, y: Tensor, masks: Masks, eps: Tensor) -> Tensor:
        z1 = leak(self.z1_norm(self.z1(y)))
        z2 = leak(self.z2_norm(self.z2(dropout(z1, masks["z2"], 0.2))))
        return self.z_mu(z2) + exp_n(torch.zeros_like(eps), eps)


class Table5(nn.Module):
    """MNIST: Gx(y, Gz(y)). Rows y1a ... y5a have no activation; every layer is a transposed convolution."""

    def __init__(self, k: int = 10):
        super().__init__()
        self.y1 = nn.ConvTranspose2d(k, 128, 1, bias=False)
        self.z1 = nn.ConvTranspose2d(64, 128, 1, bias=False)
        self.y1a_norm = BatchNorm(128)
        self.z1a_norm = BatchNorm(128)
        self.y2 = nn.ConvTranspose2d(128, 64, 4, bias=False)
        self.z2 = nn.ConvTranspose2d(128, 64, 4, bias=False)
        self.y2a_norm = BatchNorm(64)
        self.z2a_norm = BatchNorm(64)
        self.y3 = nn.ConvTranspose2d(64, 64, 3, bias=False)
        self.z3 = nn.ConvTranspose2d(64, 64, 3, bias=False)
        self.y3a_norm = BatchNorm(64)
        self.z3a_norm = BatchNorm(64)
        self.y4 = nn.ConvTranspose2d(64, 32, 3, stride=2, bias=False)
        self.z4 = nn.ConvTranspose2d(64, 32, 3, stride=2, bias=False)
        self.y4a_norm = BatchNorm(32)
        self.z4a_norm = BatchNorm(32)
        self.y5 = nn.ConvTranspose2d(32, 32, 3, stride=2, bias=False)
        self.z5 = nn.ConvTranspose2d(32, 32, 3, stride=2, bias=False)
        self.y5a_norm = BatchNorm(32)
        self.z5a_norm = BatchNorm(32)
        self.y6 = nn.ConvTranspose2d(32, 1, 2)
        self.z6 = nn.ConvTranspose2d(32, 1, 2)

    def forward(self, y: Tensor, z: Tensor, masks: Masks) -> Tensor:
        y1 = self.y1(y)
        z1 = self.z1(z)
        y1a = self.y1a_norm(y1 + z1)
        z1a = leak(self.z1a_norm(z1))
        y2 = self.y2(dropout(y1a, masks["y2"], 0.2))
        z2 = self.z2(dropout(z1a, masks["z2"], 0.2))
        y2a = self.y2a_norm(y2 + z2)
        z2a = leak(self.z2a_norm(z2))
        y3 = self.y3(dropout(y2a, masks["y3"], 0.2))
        z3 = self.z3(dropout(z2a, masks["z3"], 0.2))
        y3a = self.y3a_norm(y3 + z3)
        z3a = leak(self.z3a_norm(z3))
        y4 = self.y4(dropout(y3a, masks["y4"], 0.2))
        z4 = self.z4(dropout(z3a, masks["z4"], 0.2))
        y4a = self.y4a_norm(y4 + z4)
        z4a = leak(self.z4a_norm(z4))
        y5 = self.y5(dropout(y4a, masks["y5"], 0.2))
        z5 = self.z5(dropout(z4a, masks["z5"], 0.2))
        y5a = self.y5a_norm(y5 + z5)
        z5a = leak(self.z5a_norm(z5))
        y6 = self.y6(dropout(y5a, masks["y6"], 0.2))
        z6 = self.z6(dropout(z5a, masks["z6"], 0.2))
        return torch.sigmoid(y6 + z6)


class Table6(nn.Module):
    """MNIST: D(x, y, z); the result is the logit. Row p reads p2 (erratum 4)."""

    def __init__(self, k: int = 10):
        super().__init__()
        self.x1 = nn.Conv2d(1, 32, 2)
        self.x2 = nn.Conv2d(32, 32, 3, stride=2)
        self.x3 = nn.Conv2d(32, 64, 3, stride=2)
        self.x4 = nn.Conv2d(64, 64, 3)
        self.x5 = nn.Conv2d(64, 128, 4)
        self.y1 = nn.Conv2d(k, 64, 1)
        self.y2 = nn.Conv2d(64, 64, 1)
        self.z1 = nn.Conv2d(64, 64, 1)
        self.z2 = nn.Conv2d(64, 64, 1)
        self.p1 = nn.Conv2d(256, 256, 1)
        self.p2 = nn.Conv2d(256, 256, 1)
        self.p = nn.Conv2d(256, 1, 1)

    def forward(self, x: Tensor, y: Tensor, z: Tensor, masks: Masks) -> Tensor:
        x1 = leak(self.x1(x))
        x2 = leak(self.x2(dropout(x1, masks["x2"], 0.2)))
        x3 = leak(self.x3(dropout(x2, masks["x3"], 0.2)))
        x4 = leak(self.x4(dropout(x3, masks["x4"], 0.2)))
        x5 = leak(self.x5(dropout(x4, masks["x5"], 0.2)))
        y1 = leak(self.y1(y))
        y2 = leak(self.y2(dropout(y1, masks["y2"], 0.2)))
        z1 = leak(self.z1(z))
        z2 = leak(self.z2(dropout(z1, masks["z2"], 0.2)))
        p0 = torch.cat([x5, y2, z2], dim=1)
        p1 = leak(self.p1(dropout(p0, masks["p1"], 0.2)))
        p2 = leak(self.p2(dropout(p1, masks["p2"], 0.2)))
        return self.p(dropout(p2, masks["p"], 0.2))[:, 0, 0, 0]


# ---------------------------------------------------------------------- SVHN
# `narrow` divides every width but those of x, y and z: the printed network is narrow = 1.


class Table7(nn.Module):
    """SVHN: Gz(x) Gy(x, .) as printed; x has 3 channels, x1 ... x6 have padding 1 (errata 1, 5, 6)."""

    def __init__(self, k: int = 10, narrow: int = 1):
        super().__init__()
        w96, w192, w384 = 96 // narrow, 192 // narrow, 384 // narrow
        self.x1 = nn.Conv2d(3, w96, 3, padding=1, bias=False)
        self.x1_norm = BatchNorm(w96)
        self.x2 = nn.Conv2d(w96, w96, 3, padding=1, bias=False)
        self.x2_norm = BatchNorm(w96)
        self.x3 = nn.Conv2d(w96, w96, 3, padding=1, bias=False)
        self.x3_norm = BatchNorm(w96)
        self.x4 = nn.Conv2d(w96, w192, 3, padding=1, bias=False)
        self.x4_norm = BatchNorm(w192)
        self.x5 = nn.Conv2d(w192, w192, 3, padding=1, bias=False)
        self.x5_norm = BatchNorm(w192)
        self.x6 = nn.Conv2d(w192, w192, 3, padding=1, bias=False)
        self.x6_norm = BatchNorm(w192)
        self.x7 = nn.Conv2d(w192, w384, 3, bias=False)
        self.x7_norm = BatchNorm(w384)
        self.y1 = nn.Conv2d(w384, w192, 1, bias=False)
        self.z1 = nn.Conv2d(w384, w192, 1, bias=False)
        self.y1a_norm = BatchNorm(w192)
        self.z1a_norm = BatchNorm(w192)
        self.y2 = nn.Conv2d(w192, w96, 1, bias=False)
        self.z2 = nn.Conv2d(w192, w96, 1, bias=False)
        self.y2a_norm = BatchNorm(w96)
        self.z2a_norm = BatchNorm(w96)
        self.y_mu = nn.Conv2d(w96, k, 1)
        self.y_sigma = nn.Conv2d(w96, k, 1)
        self.z_mu = nn.Conv2d(w96, 64, 1)
        self.z_sigma = nn.Conv2d(w96, 64, 1)

    def trunk(self, x: Tensor) -> Tensor:
        """x1 ... x7: convolution, batch norm, Leak, pool."""
        x1 = leak(self.x1_norm(self.x1(x)))
        x2 = leak(self.x2_norm(self.x2(x1)))
        x3 = nn.functional.max_pool2d(leak(self.x3_norm(self.x3(x2))), 2)
        x4 = leak(self.x4_norm(self.x4(x3)))
        x5 = leak(self.x5_norm(self.x5(x4)))
        x6 = nn.functional.max_pool2d(leak(self.x6_norm(self.x6(x5))), 2)
        return leak(self.x7_norm(self.x7(x6)))

    def forward(self, x: Tensor, eps_y: Tensor, eps_z: Tensor) -> tuple[Tensor, Tensor]:
        x7 = self.trunk(x)
        y1 = self.y1(x7)
        z1 = self.z1(x7)
        y1a = leak(self.y1a_norm(y1 + z1))
        z1a = leak(self.z1a_norm(z1))
        y2 = self.y2(y1a)
        z2 = self.z2(z1a)
        y2a = nn.functional.avg_pool2d(leak(self.y2a_norm(y2 + z2)), 6)
        z2a = nn.functional.avg_pool2d(leak(self.z2a_norm(z2)), 6)
        y = torch.softmax(self.y_mu(y2a) + exp_n(self.y_sigma(y2a), eps_y), dim=1)
        z = self.z_mu(z2a) + exp_n(self.z_sigma(z2a), eps_z)
        return y, z

    def z_of_labeled(self, x: Tensor, y: Tensor, eps_z: Tensor) -> Tensor:
        """z~ ~ q(z | x): the printed stream of z has no place for the label (erratum 16)."""
        z2 = self.z2(leak(self.z1a_norm(self.z1(self.trunk(x)))))
        z2a = nn.functional.avg_pool2d(leak(self.z2a_norm(z2)), 6)
        return self.z_mu(z2a) + exp_n(self.z_sigma(z2a), eps_z)


class Table7ReadingY(Table7):
    """q1, eq. 6: z's stream reads y~ (or the label, eqs. 4 and 14) by W1 and W2, and no feature of y's stream."""

    def __init__(self, k: int = 10, narrow: int = 1):
        super().__init__(k, narrow)
        self.z_from_y1 = nn.Conv2d(k, 192 // narrow, 1, bias=False)  # W1
        self.z_from_y2 = nn.Conv2d(k, 96 // narrow, 1, bias=False)  # W2

    def forward(self, x: Tensor, eps_y: Tensor, eps_z: Tensor) -> tuple[Tensor, Tensor]:
        x7 = self.trunk(x)
        y2 = self.y2(leak(self.y1a_norm(self.y1(x7))))
        y2a = nn.functional.avg_pool2d(leak(self.y2a_norm(y2)), 6)
        y = torch.softmax(self.y_mu(y2a) + exp_n(self.y_sigma(y2a), eps_y), dim=1)
        return y, self.z_stream(x7, y, eps_z)

    def z_of_labeled(self, x: Tensor, y: Tensor, eps_z: Tensor) -> Tensor:
        """z~ ~ q(z | x, y), y the label."""
        return self.z_stream(self.trunk(x), y, eps_z)

    def z_stream(self, x7: Tensor, y: Tensor, eps_z: Tensor) -> Tensor:
        """z1 ... z, with W1 y and W2 y at every one of the 6x6 positions."""
        z1a = leak(self.z1a_norm(self.z1(x7) + self.z_from_y1(y)))
        z2a = leak(self.z2a_norm(self.z2(z1a) + self.z_from_y2(y)))
        z2a = nn.functional.avg_pool2d(z2a, 6)
        return self.z_mu(z2a) + exp_n(self.z_sigma(z2a), eps_z)


class Table8(nn.Module):
    """SVHN: Gz(y), eq. 12: a learned mean and log-variance for each component."""

    def __init__(self, k: int = 10):
        super().__init__()
        self.z_mu = nn.Conv2d(k, 64, 1)
        self.z_sigma = nn.Conv2d(k, 64, 1)

    def forward(self, y: Tensor, eps: Tensor) -> Tensor:
        return self.z_mu(y) + exp_n(self.z_sigma(y), eps)


class Table9(nn.Module):
    """SVHN: Gx(y, Gz(y)); the last layers have 3 channels, width 4, stride 2 (erratum 2)."""

    def __init__(self, k: int = 10, narrow: int = 1):
        super().__init__()
        w128, w256, w512 = 128 // narrow, 256 // narrow, 512 // narrow
        self.y1 = nn.ConvTranspose2d(k, w512, 1, bias=False)
        self.z1 = nn.ConvTranspose2d(64, w512, 1, bias=False)
        self.y1a_norm = BatchNorm(w512)
        self.z1a_norm = BatchNorm(w512)
        self.y2 = nn.ConvTranspose2d(w512, w256, 4, bias=False)
        self.z2 = nn.ConvTranspose2d(w512, w256, 4, bias=False)
        self.y2a_norm = BatchNorm(w256)
        self.z2a_norm = BatchNorm(w256)
        self.y3 = nn.ConvTranspose2d(w256, w256, 3, bias=False)
        self.z3 = nn.ConvTranspose2d(w256, w256, 3, bias=False)
        self.y3a_norm = BatchNorm(w256)
        self.z3a_norm = BatchNorm(w256)
        self.y4 = nn.ConvTranspose2d(w256, w128, 3, stride=2, bias=False)
        self.z4 = nn.ConvTranspose2d(w256, w128, 3, stride=2, bias=False)
        self.y4a_norm = BatchNorm(w128)
        self.z4a_norm = BatchNorm(w128)
        self.y5 = nn.ConvTranspose2d(w128, w128, 3, bias=False)
        self.z5 = nn.ConvTranspose2d(w128, w128, 3, bias=False)
        self.y5a_norm = BatchNorm(w128)
        self.z5a_norm = BatchNorm(w128)
        self.y6 = nn.ConvTranspose2d(w128, 3, 4, stride=2)
        self.z6 = nn.ConvTranspose2d(w128, 3, 4, stride=2)

    def forward(self, y: Tensor, z: Tensor) -> Tensor:
        y1 = self.y1(y)
        z1 = self.z1(z)
        y1a = self.y1a_norm(y1 + z1)
        z1a = leak(self.z1a_norm(z1))
        y2 = self.y2(y1a)
        z2 = self.z2(z1a)
        y2a = self.y2a_norm(y2 + z2)
        z2a = leak(self.z2a_norm(z2))
        y3 = self.y3(y2a)
        z3 = self.z3(z2a)
        y3a = self.y3a_norm(y3 + z3)
        z3a = leak(self.z3a_norm(z3))
        y4 = self.y4(y3a)
        z4 = self.z4(z3a)
        y4a = self.y4a_norm(y4 + z4)
        z4a = leak(self.z4a_norm(z4))
        y5 = self.y5(y4a)
        z5 = self.z5(z4a)
        y5a = self.y5a_norm(y5 + z5)
        z5a = leak(self.z5a_norm(z5))
        y6 = self.y6(y5a)
        z6 = self.z6(z5a)
        return torch.sigmoid(y6 + z6)


class Table10(nn.Module):
    """SVHN: D(x, y, z); the result is the logit. p0 reads x9 and p reads p2 (errata 3, 4)."""

    def __init__(self, k: int = 10, narrow: int = 1):
        super().__init__()
        w96, w192, w288, w384 = 96 // narrow, 192 // narrow, 288 // narrow, 384 // narrow
        self.x1 = nn.Conv2d(3, w96, 3, padding=1)
        self.x2 = nn.Conv2d(w96, w96, 3, padding=1)
        self.x3 = nn.Conv2d(w96, w96, 3, padding=1)
        self.x4 = nn.Conv2d(w96, w192, 3, padding=1)
        self.x5 = nn.Conv2d(w192, w192, 3, padding=1)
        self.x6 = nn.Conv2d(w192, w192, 3, padding=1)
        self.x7 = nn.Conv2d(w192, w384, 3)
        self.x8 = nn.Conv2d(w384, w192, 1)
        self.x9 = nn.Conv2d(w192, w96, 1)
        self.y1 = nn.Conv2d(k, w96, 1)
        self.y2 = nn.Conv2d(w96, w96, 1)
        self.z1 = nn.Conv2d(64, w96, 1)
        self.z2 = nn.Conv2d(w96, w96, 1)
        self.p1 = nn.Conv2d(w288, w288, 1)
        self.p2 = nn.Conv2d(w288, w288, 1)
        self.p = nn.Conv2d(w288, 1, 1)

    def forward(self, x: Tensor, y: Tensor, z: Tensor, masks: Masks) -> Tensor:
        x1 = leak(self.x1(x))
        x2 = leak(self.x2(x1))
        x3 = nn.functional.max_pool2d(leak(self.x3(x2)), 2)
        x4 = leak(self.x4(dropout(x3, masks["x4"], 0.1)))
        x5 = leak(self.x5(x4))
        x6 = nn.functional.max_pool2d(leak(self.x6(x5)), 2)
        x7 = leak(self.x7(dropout(x6, masks["x7"], 0.1)))
        x8 = leak(self.x8(x7))
        x9 = nn.functional.avg_pool2d(leak(self.x9(x8)), 6)
        y1 = leak(self.y1(y))
        y2 = leak(self.y2(dropout(y1, masks["y2"], 0.1)))
        z1 = leak(self.z1(z))
        z2 = leak(self.z2(dropout(z1, masks["z2"], 0.1)))
        p0 = torch.cat([x9, y2, z2], dim=1)
        p1 = leak(self.p1(dropout(p0, masks["p1"], 0.1)))
        p2 = leak(self.p2(dropout(p1, masks["p2"], 0.1)))
        return self.p(dropout(p2, masks["p"], 0.1))[:, 0, 0, 0]


# ---------------------------------------------------------------------- the algorithms


def gradient_penalty(
    critic: nn.Module, q: tuple[Tensor, ...], p: tuple[Tensor, ...], coefficient: Tensor, masks: Masks
) -> Tensor:
    """E[(||grad_{x^,y^,z^} D(x^,y^,z^)||_2 - 1)^2], eq. 18 without lambda, D the logit.

    Args:
        critic: Table 6 or 10.
        q: x, y~, z~.
        p: x~, y, z.
        coefficient: how far from q to p each point lies, one number an example for x, y and z alike, (M, 1, 1, 1).
        masks: of this pass.
    """
    x = ((1 - coefficient) * q[0] + coefficient * p[0]).detach().requires_grad_()
    y = ((1 - coefficient) * q[1] + coefficient * p[1]).detach().requires_grad_()
    z = ((1 - coefficient) * q[2] + coefficient * p[2]).detach().requires_grad_()
    logit = critic(x, y, z, masks)
    by_x, by_y, by_z = torch.autograd.grad(logit.sum(), [x, y, z], create_graph=True)
    squares = (by_x**2).sum(dim=(1, 2, 3)) + (by_y**2).sum(dim=(1, 2, 3)) + (by_z**2).sum(dim=(1, 2, 3))
    return ((torch.sqrt(squares) - 1) ** 2).mean()


def theta(network: nn.Module, letters: str = "xyzp") -> dict[str, nn.Parameter]:
    """The parameters of the layers whose names begin with one of the letters."""
    return {name: parameter for name, parameter in network.named_parameters() if name[0] in letters}


def gradient(loss: Tensor, parameters: dict[str, nn.Parameter]) -> Gradients:
    """The gradient of a loss with respect to one theta; an error where the loss does not reach a parameter."""
    found = torch.autograd.grad(loss, list(parameters.values()), retain_graph=True)
    return dict(zip(parameters, found, strict=True))


@dataclass(frozen=True)
class Noise1:
    """All that is random in an iteration of Algorithm 1 with Tables 3-6, but x and y."""

    masks_of_q: Masks  # Table 3
    eps_y: Tensor
    eps_z: Tensor
    masks_of_components: Masks  # Table 4
    eps_of_components: Tensor
    masks_of_decoder: Masks  # Table 5
    masks_of_rho_q: Masks  # Table 6
    masks_of_rho_p: Masks
    coefficient: Tensor  # eq. 18
    masks_of_penalty: Masks


@dataclass(frozen=True)
class Iteration1:
    """What an iteration of Algorithm 1 computes: logits, losses, eq. 18, and the gradient of each theta's own loss."""

    logits_q: Tensor
    logits_p: Tensor
    loss_d: Tensor  # without the penalty
    loss_x_and_components: Tensor
    loss_y_and_z: Tensor
    penalty: Tensor  # without lambda
    encoder: Gradients
    components: Gradients
    decoder: Gradients
    critic: Gradients


def algorithm1(
    encoder: Table3,
    components: Table4,
    decoder: Table5,
    critic: Table6,
    x: Tensor,
    y: Tensor,
    noise: Noise1,
    weight: float,
) -> Iteration1:
    """One iteration of Algorithm 1 up to the updates; `weight` is eq. 18's lambda, x ~ q(x), y ~ p(y)."""
    z = components(y, noise.masks_of_components, noise.eps_of_components)
    x_tilde = decoder(y, z, noise.masks_of_decoder)
    y_tilde, z_tilde = encoder(x, noise.masks_of_q, noise.eps_y, noise.eps_z)

    logits_q = critic(x, y_tilde, z_tilde, noise.masks_of_rho_q)
    logits_p = critic(x_tilde, y, z, noise.masks_of_rho_p)
    rho_q = torch.sigmoid(logits_q)
    rho_p = torch.sigmoid(logits_p)

    m = len(x)
    loss_d = -torch.log(rho_q).sum() / m - torch.log(1 - rho_p).sum() / m
    loss_x = loss_components = -torch.log(rho_p).sum() / m
    loss_y = loss_z = -torch.log(1 - rho_q).sum() / m
    penalty = gradient_penalty(
        critic, (x, y_tilde, z_tilde), (x_tilde, y, z), noise.coefficient, noise.masks_of_penalty
    )

    return Iteration1(
        logits_q,
        logits_p,
        loss_d,
        loss_x,
        loss_y,
        penalty,
        critic=gradient(loss_d + weight * penalty, theta(critic)),
        decoder=gradient(loss_x, theta(decoder)),
        components=gradient(loss_components, theta(components)),
        encoder=gradient(loss_y, theta(encoder, "y")) | gradient(loss_z, theta(encoder, "z")),
    )


@dataclass(frozen=True)
class Noise2:
    """All that is random in one of the two games of Algorithm 2 with Tables 7-10, but x and y."""

    eps_y: Tensor | None  # none where y is given
    eps_z: Tensor
    eps_of_components: Tensor
    masks_of_rho_q: Masks
    masks_of_rho_p: Masks
    coefficient: Tensor
    masks_of_penalty: Masks


@dataclass(frozen=True)
class Game2:
    """Logits and losses of one of the two games of Algorithm 2, with the 1/2 that the algorithm prints."""

    logits_q: Tensor
    logits_p: Tensor
    loss_d: Tensor
    loss_q: Tensor  # of the inference networks
    loss_p: Tensor  # of the synthesis networks
    penalty: Tensor  # without lambda and without 1/2


@dataclass(frozen=True)
class Iteration2:
    """What an iteration of Algorithm 2 computes."""

    unlabeled: Game2
    labeled: Game2
    encoder: Gradients
    components: Gradients
    decoder: Gradients
    critic: Gradients


def algorithm2(
    encoder: Table7,
    components: Table8,
    decoder: Table9,
    critic: Table10,
    x_u: Tensor,
    y_u: Tensor,
    x_l: Tensor,
    label: Tensor,
    y_l: Tensor,
    noise_u: Noise2,
    noise_l: Noise2,
    weight: float,
) -> Iteration2:
    """One iteration of Algorithm 2 up to the updates; each game's penalty has the 1/2 of the game's losses.

    Args:
        encoder: Gy(x) and Gz(x, .).
        components: Gz(y).
        decoder: Gx(y, z).
        critic: D.
        x_u: of q(x).
        y_u: of p(y), for the unlabelled game.
        x_l: of q(x, y).
        label: of q(x, y), as one-hot vectors.
        y_l: of p(y), for the labelled game.
        noise_u: of the unlabelled game.
        noise_l: of the labelled game.
        weight: lambda of eq. 18.
    """
    z_u = components(y_u, noise_u.eps_of_components)
    x_tilde_u = decoder(y_u, z_u)
    y_tilde_u, z_tilde_u = encoder(x_u, noise_u.eps_y, noise_u.eps_z)
    z_l = components(y_l, noise_l.eps_of_components)
    x_tilde_l = decoder(y_l, z_l)
    z_tilde_l = encoder.z_of_labeled(x_l, label, noise_l.eps_z)

    unlabeled = _game(critic, (x_u, y_tilde_u, z_tilde_u), (x_tilde_u, y_u, z_u), noise_u)
    labeled = _game(critic, (x_l, label, z_tilde_l), (x_tilde_l, y_l, z_l), noise_l)

    loss_d = unlabeled.loss_d + 0.5 * weight * unlabeled.penalty + labeled.loss_d + 0.5 * weight * labeled.penalty
    # Table 7's x1 ... x7 are in the thetas of Gz and of Gy. The unlabelled loss of both is one number, counted once.
    of_z = gradient(unlabeled.loss_q + labeled.loss_q, theta(encoder, "xz"))
    of_y = gradient(unlabeled.loss_q, theta(encoder, "y"))
    return Iteration2(
        unlabeled,
        labeled,
        encoder=of_z | of_y,
        decoder=gradient(unlabeled.loss_p + labeled.loss_p, theta(decoder)),
        components=gradient(unlabeled.loss_p + labeled.loss_p, theta(components)),
        critic=gradient(loss_d, theta(critic)),
    )


def _game(
    critic: nn.Module, q: tuple[Tensor, Tensor, Tensor], p: tuple[Tensor, Tensor, Tensor], noise: Noise2
) -> Game2:
    logits_q = critic(*q, noise.masks_of_rho_q)
    logits_p = critic(*p, noise.masks_of_rho_p)
    rho_q = torch.sigmoid(logits_q)
    rho_p = torch.sigmoid(logits_p)
    m = len(q[0])
    return Game2(
        logits_q,
        logits_p,
        loss_d=-torch.log(rho_q).sum() / (2 * m) - torch.log(1 - rho_p).sum() / (2 * m),
        loss_q=-torch.log(1 - rho_q).sum() / (2 * m),
        loss_p=-torch.log(rho_p).sum() / (2 * m),
        penalty=gradient_penalty(critic, q, p, noise.coefficient, noise.masks_of_penalty),
    )
