"""Models with terms as public repositories write them: what `bench.py` compares with where `plain.py` has no loop.

Networks, batch sizes, losses and the order of updates are those of the spec of the same name; every phase draws and
passes anew what it needs, as public code does: nn.Module, BCEWithLogitsLoss, backward() and torch.optim.Adam.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class InfoGAN:
    """infogan_mnist: D's turn trains D and Q on real and fake images and on the codes; then G's, on new codes."""

    def __init__(self, batch: int) -> None:
        self.images = torch.rand(batch, 1, 28, 28)
        self.real, self.fake = torch.ones(batch), torch.zeros(batch)
        self.generator = nn.Sequential(
            nn.Conv2d(62 + 10 + 2, 1024, 1, bias=False),
            nn.BatchNorm2d(1024),
            nn.ReLU(inplace=True),
            nn.ConvTranspose2d(1024, 128, 7, bias=False),
            nn.BatchNorm2d(128),
            nn.ReLU(inplace=True),
            nn.ConvTranspose2d(128, 64, 4, 2, 1, bias=False),
            nn.BatchNorm2d(64),
            nn.ReLU(inplace=True),
            nn.ConvTranspose2d(64, 1, 4, 2, 1),
            nn.Sigmoid(),
        )
        self.trunk = nn.Sequential(
            nn.Conv2d(1, 64, 4, 2, 1),
            nn.LeakyReLU(0.01, inplace=True),
            nn.Conv2d(64, 128, 4, 2, 1, bias=False),
            nn.BatchNorm2d(128),
            nn.LeakyReLU(0.01, inplace=True),
            nn.Flatten(),
            nn.Linear(128 * 7 * 7, 1024, bias=False),
            nn.BatchNorm1d(1024),
            nn.LeakyReLU(0.01, inplace=True),
        )
        self.d_head = nn.Linear(1024, 1)
        self.q_head = nn.Sequential(nn.Linear(1024, 128, bias=False), nn.BatchNorm1d(128), nn.LeakyReLU(0.01))
        self.q_category, self.q_mean = nn.Linear(128, 10), nn.Linear(128, 2)
        self.critic = nn.ModuleList([self.trunk, self.d_head, self.q_head, self.q_category, self.q_mean])
        for module in (self.generator, self.critic):
            module.apply(initialize)
        self.d_optimizer = torch.optim.Adam(self.critic.parameters(), lr=2e-4, betas=(0.5, 0.999))
        self.g_optimizer = torch.optim.Adam(self.generator.parameters(), lr=1e-3, betas=(0.5, 0.999))
        self.criterion, self.cross_entropy = nn.BCEWithLogitsLoss(), nn.CrossEntropyLoss()

    @property
    def networks(self) -> tuple[nn.Module, ...]:
        """Those that a step trains."""
        return self.generator, self.critic

    def sample(self) -> tuple[Tensor, Tensor, Tensor]:
        """Images of G, with the category and the codes that they were made of."""
        batch = len(self.images)
        z, s = torch.rand(batch, 62) * 2 - 1, torch.rand(batch, 2) * 2 - 1
        c = torch.randint(10, (batch,))
        codes = torch.cat([z, F.one_hot(c, 10).float(), s], 1)
        return self.generator(codes[:, :, None, None]), c, s

    def information(self, features: Tensor, c: Tensor, s: Tensor) -> Tensor:
        """-E log Q(c|x) - E log Q(s|x), Q(s|x) normal with scale 1."""
        hidden = self.q_head(features)
        density = 0.5 * (math.log(2 * math.pi) + (s - self.q_mean(hidden)) ** 2).sum(1).mean()
        return self.cross_entropy(self.q_category(hidden), c) + density

    def step(self) -> None:
        """One update of D and Q, one of G."""
        self.d_optimizer.zero_grad()
        loss_real = self.criterion(self.d_head(self.trunk(self.images)).squeeze(1), self.real)
        loss_real.backward()
        fake, c, s = self.sample()
        features = self.trunk(fake.detach())
        loss_fake = self.criterion(self.d_head(features).squeeze(1), self.fake) + self.information(features, c, s)
        loss_fake.backward()
        self.d_optimizer.step()

        self.g_optimizer.zero_grad()
        fake, c, s = self.sample()
        features = self.trunk(fake)
        loss = self.criterion(self.d_head(features).squeeze(1), self.real) + self.information(features, c, s)
        loss.backward()
        self.g_optimizer.step()


class Encoder(nn.Module):
    """q(y|x), by probabilities, and z of an image with noise."""

    def __init__(self, categories: int, size: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Linear(784, 1000), nn.ReLU(inplace=True), nn.Linear(1000, 1000), nn.ReLU(inplace=True)
        )
        self.y, self.z = nn.Linear(1000, categories), nn.Linear(1000, size)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        hidden = self.body(x + 0.3 * torch.randn_like(x))
        return F.softmax(self.y(hidden), 1), self.z(hidden)


class AAE:
    """aae_mnist: the reconstruction, then the discriminators of y and z, then the encoder against both."""

    def __init__(self, batch: int, categories: int = 30, size: int = 5) -> None:
        self.images, self.categories, self.size = torch.rand(batch, 784), categories, size
        self.real, self.fake = torch.ones(batch, 1), torch.zeros(batch, 1)
        self.encoder = Encoder(categories, size)
        self.decoder = nn.Sequential(*dense(categories + size, 784), nn.Sigmoid())
        self.critic_y, self.critic_z = nn.Sequential(*dense(categories, 1)), nn.Sequential(*dense(size, 1))
        for module in self.networks:
            module.apply(initialize)
        self.encoder_optimizer, self.decoder_optimizer, self.y_optimizer, self.z_optimizer = (
            torch.optim.Adam(module.parameters(), lr=2e-4, betas=(0.5, 0.999)) for module in self.networks
        )
        self.criterion, self.squared_error = nn.BCEWithLogitsLoss(), nn.MSELoss()

    @property
    def networks(self) -> tuple[nn.Module, ...]:
        """Those that a step trains."""
        return self.encoder, self.decoder, self.critic_y, self.critic_z

    def step(self) -> None:
        """The three phases, one update each."""
        self.encoder_optimizer.zero_grad()
        self.decoder_optimizer.zero_grad()
        y, z = self.encoder(self.images)
        self.squared_error(self.decoder(torch.cat([y, z], 1)), self.images).backward()
        self.encoder_optimizer.step()
        self.decoder_optimizer.step()

        self.y_optimizer.zero_grad()
        self.z_optimizer.zero_grad()
        y, z = (value.detach() for value in self.encoder(self.images))
        prior_y = F.one_hot(torch.randint(self.categories, (len(self.images),)), self.categories).float()
        prior_z = torch.randn(len(self.images), self.size)
        loss_y = self.criterion(self.critic_y(prior_y), self.real) + self.criterion(self.critic_y(y), self.fake)
        loss_z = self.criterion(self.critic_z(prior_z), self.real) + self.criterion(self.critic_z(z), self.fake)
        (loss_y + loss_z).backward()
        self.y_optimizer.step()
        self.z_optimizer.step()

        self.encoder_optimizer.zero_grad()
        y, z = self.encoder(self.images)
        loss = self.criterion(self.critic_y(y), self.real) + self.criterion(self.critic_z(z), self.real)
        loss.backward()
        self.encoder_optimizer.step()


def dense(inside: int, outside: int) -> list[nn.Module]:
    """Two layers of 1,000 ReLU units and a linear one."""
    return [
        nn.Linear(inside, 1000),
        nn.ReLU(inplace=True),
        nn.Linear(1000, 1000),
        nn.ReLU(inplace=True),
        nn.Linear(1000, outside),
    ]


def initialize(module: nn.Module) -> None:
    """N(0, 0.02^2) weights."""
    if isinstance(module, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(module.weight, 0, 0.02)


MODELS: dict[str, Callable[[int], InfoGAN | AAE]] = {"infogan_mnist": InfoGAN, "aae_mnist": AAE}
