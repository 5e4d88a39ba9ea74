"""The first report: figures of known answers, a page that needs nothing else, and a refusal without exact answers."""

import base64
import io
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from stylebench.build import open_data
from stylebench.cli.config import compose
from stylebench.cli.main import main
from stylebench.commands.train import train
from stylebench.inference.translators.image_to_image import ImageToImage
from stylebench.training.panel import write_report

WORLD = ["dataset=procstyle", "dataset.store.size_px=48", "dataset.store.train_images=6", "dataset.store.val_images=2",
         "dataset.store.test_images=5", "encoder=squeezenet", "encoder.weights=random",
         "encoder.normalize=false"]  # fmt: skip
SHORT = ["budget.batches=2", "budget.evaluate_every=2", "budget.validation_images=2", "samples=2",
         "model.generator.width=4", "model.style_size_px=null", "dataset.style=chalk/train-1-00003"]  # fmt: skip


class Invert(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return 1 - images


def table(page: str) -> dict[str, dict[str, float]]:
    """Read the figures back: {row: {column: value}}."""
    rows = [
        [re.sub("<.*?>", "", cell) for cell in re.findall(r"<t[dh]>(.*?)</t[dh]>", row)]
        for row in re.findall(r"<tr>(.*?)</tr>", page)
    ]
    return {row[0]: dict(zip(rows[0][1:], map(float, row[1:]), strict=True)) for row in rows[1:]}


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("run")
    config = compose("train", [*WORLD, *SHORT])
    path = write_report(folder, config, open_data(config), ImageToImage(Invert()), "stylebench train <x> & y")
    assert path == folder / "report.html"
    return path.read_text()


def test_exact_and_trivial_answers_read_as_what_they_are(page: str) -> None:
    figures = table(page)
    assert list(figures) == ["content as it is", "colors matched", "this model", "exact target"]
    assert figures["content as it is"]["strength"] == pytest.approx(0, abs=0.05)
    assert figures["exact target"]["strength"] == pytest.approx(1, abs=0.15)  # five scenes, one draw
    assert figures["colors matched"]["palette"] > 0.2
    assert figures["exact target"]["PSNR"] > max(figures[name]["PSNR"] for name in list(figures)[:3])
    # Inverting keeps regions apart as well as the content does.
    assert figures["this model"]["masks"] == pytest.approx(figures["content as it is"]["masks"], abs=0.01)


def test_the_page_is_whole_by_itself(page: str) -> None:
    sources = re.findall(r'(?:src|href)="(.*?)"', page)
    assert len(sources) == 1
    image = Image.open(io.BytesIO(base64.b64decode(sources[0].removeprefix("data:image/png;base64,"))))
    pixels = np.asarray(image.convert("RGB"))
    assert pixels.shape == (5 * 52, 150 + 5 * 52, 3)
    np.testing.assert_allclose(pixels[52 + 24, 154:198].astype(int), 255 - pixels[3 * 52 + 24, 154:198], atol=1)
    assert "stylebench train &lt;x&gt; &amp; y" in page
    assert "&quot;_target_&quot;: &quot;stylebench.methods.fast_transfer.FastTransfer&quot;" in page


def test_training_ends_with_the_path_of_the_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["stylebench", "train", *WORLD, *SHORT, "panel=true", "run=out"])
    torch.set_num_threads(1)
    main()
    assert capsys.readouterr().out.rstrip().endswith("report      out/report.html")
    written = (tmp_path / "out" / "report.html").read_text()
    assert "stylebench train dataset=procstyle" in written
    assert "this model" in table(written)


def test_without_exact_answers_a_report_is_refused(tmp_path: Path) -> None:
    config = compose("train", ["dataset=procedural", "panel=true"])
    with pytest.raises(ValueError, match=r"panel=true compares .* only dataset=procstyle and dataset=filterstyle have"):
        train(config, tmp_path / "run", [])
    assert not (tmp_path / "run").exists()
