"""DINOv2: self-supervised features, whose Frechet distance follows human judgment of realism better than Inception's.

Optional: `pip install stylebench[dinov2]`.
"""

from torch import Tensor

from stylebench.metrics.extractors.transformer import TransformerFeatures
from stylebench.nn.encoders.base import PROFILES


class DINOv2(TransformerFeatures):
    """The class token of a DINOv2 transformer.

    Args:
        model: see `TransformerFeatures`; facebook/dinov2-base to follow a training, facebook/dinov2-large for final
            numbers.
        size_px: side to which images are resized, a multiple of the model's patch; 224 as the source.
        resize: see `TransformerFeatures`.

    Raises:
        RuntimeError: if the package is not installed.
        MissingWeightsError: if the model is not here.
        DamagedFileError: if its weights do not fit.
        ValueError: on an unknown protocol, or a size that patches do not fill.

    Source: Stein et al. 2023; layer6ai-labs/dgm-eval.
    """

    family, architecture, profile = "dinov2", "Dinov2Model", PROFILES["torch"]

    def __init__(self, model: str, size_px: int = 224, resize: str = "clean") -> None:
        super().__init__(model, size_px, resize)
        patch = int(self.config.patch_size)
        if size_px % patch or size_px < patch:
            raise ValueError(f"size_px expects a multiple of the model's patch, {patch}, got {size_px}")
        self.width = int(self.config.hidden_size)

    def forward(self, images: Tensor) -> Tensor:
        """Return (B, width) float32 features; see `Extractor`."""
        return self.outputs(images).last_hidden_state[:, 0]  # type: ignore[no-any-return]  # (B, width), normalized
