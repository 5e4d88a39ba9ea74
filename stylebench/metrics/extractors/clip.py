"""CLIP: embeddings that know what a picture shows; the features of CMMD.

Optional: `pip install stylebench[clip]`.
"""

import torch.nn.functional as F
from torch import Tensor

from stylebench.metrics.extractors.transformer import TransformerFeatures

# openai/clip-vit-large-patch14-336, pytorch_model.bin, 1,711,974,081 bytes; and what of its config the file cannot show
_DIGEST = "c6032c2e0caae3dc2d4fba35535fa6307dbb49df59c7e182b1bc4b3329b81801"
_CONFIG = {
    "image_size": 336, "patch_size": 14, "num_attention_heads": 16, "hidden_act": "quick_gelu", "layer_norm_eps": 1e-5,
}  # fmt: skip
_MEAN = (0.48145466, 0.4578275, 0.40821073)  # openai/CLIP clip.py
_STD = (0.26862954, 0.26130258, 0.27577711)


class CLIP(TransformerFeatures):
    """The image embedding of a CLIP transformer, scaled to length 1. Only the published ViT-L/14 at 336 px earns CMMD.

    Args:
        model: see `TransformerFeatures`; openai/clip-vit-large-patch14-336 for CMMD.
        resize: see `TransformerFeatures`; the source's PyTorch port resizes bicubically without antialiasing, so that
            its numbers differ where images shrink.

    Raises:
        RuntimeError: if the package is not installed.
        MissingWeightsError: if the model is not here.
        DamagedFileError: if its weights do not fit.
        ValueError: on an unknown protocol.

    Source: Jayasumana et al. 2024, section 4; sayakpaul/cmmd-pytorch embedding.py.
    """

    family, architecture, profile = "clip", "CLIPVisionModelWithProjection", (_MEAN, _STD)

    def __init__(self, model: str, resize: str = "clean") -> None:
        super().__init__(model, None, resize)
        self.width = int(self.config.projection_dim)
        told = {key: getattr(self.config, key, None) for key in _CONFIG}
        if self.digest == _DIGEST and told == _CONFIG:
            self.canonical, self.name = ("cmmd",), "clip-l14-336"

    def forward(self, images: Tensor) -> Tensor:
        """Return (B, width) float32 embeddings of length 1; see `Extractor`."""
        return F.normalize(self.outputs(images).image_embeds, dim=1)  # (B, width)
