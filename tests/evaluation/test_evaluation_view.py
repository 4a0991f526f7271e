"""One evaluation view: `eval`, `predict`, `Run.predict`, calibration and training cut one array."""

import io
import shutil

import numpy as np
import pytest
from PIL import Image

import cnn_jax
import launch
from cnn_jax.data import decode, evaluation_view
from cnn_jax.data.evaluation_view import EvaluationView
from cnn_jax.data.stream import sources, views
from cnn_jax.errors import UserError
from cnn_jax.evaluation import protocols
from cnn_jax.evaluation.predict import of_source
from cnn_jax.runs import compress
from experiments import groups
from tests.conftest import ROOT

GROUPS = {
    "center": groups.center(14, resize=16),
    "squash": groups.center(14, resize=16, frame="squash"),
    "bicubic": groups.center(14, resize=15) | {"filters": ["bicubic"]},
}
SHAPE = (14, 14, 3)
SIZES = [(40, 30), (31, 57), (33, 33), (9, 12), (90, 30)]  # width and height


def noise(width, height, channels=3):
    array = np.random.default_rng(width).integers(0, 256, (height, width, channels), np.uint8)
    return decode.from_array(array)


def encoded(image, **options):
    file = io.BytesIO()
    image.save(file, "PNG", **options)
    return file.getvalue()


@pytest.mark.parametrize("size", [(40, 30), (62, 114), (250, 333)])
def test_a_jpeg_that_is_decoded_at_a_fraction_is_so_in_all_places(size, tmp_path):
    group = groups.center(14, resize=16, dct_scaling=True)
    noise(*size).save(tmp_path / "a.jpg")
    data = (tmp_path / "a.jpg").read_bytes()
    expected = views.create(**group, decoder="pillow")(data, np.random.default_rng(0))
    view = evaluation_view.create({"evaluation": group}, SHAPE)
    found, _ = view.read(tmp_path / "a.jpg")
    center = protocols.create("center", crop=14, resize=16, dct_scaling=True)
    np.testing.assert_array_equal(center.views(center.parts[0], decode.open_image(data))[0], found)
    np.testing.assert_allclose(found, expected.astype(int), atol=1)
    full = view._replace(dct_scaling=False).read(tmp_path / "a.jpg")[0]
    assert (full != found).any() == (min(size) > 30)


def view_of(name):
    return evaluation_view.create({"evaluation": GROUPS[name]}, SHAPE)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", GROUPS)
def test_the_view_is_that_of_the_protocol_center_and_of_training(name, size):
    image, view = noise(*size), view_of(name)
    options = {"square": view.square, "filter": view.filter}
    center = protocols.create("center", crop=14, resize=view.resize, **options)
    (expected,) = center.views(center.parts[0], image)
    np.testing.assert_array_equal(view.cut(image), expected)
    np.testing.assert_array_equal(view.cut_array(np.asarray(image)), expected)
    trained = views.create(**GROUPS[name], decoder="pillow")
    found = trained(encoded(image), np.random.default_rng(0))  # of a part of the image, see `views`
    np.testing.assert_allclose(found, expected.astype(int), atol=1)


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_data_image_size_gives_the_same_pixels_from_files_and_from_memory(mode, tmp_path):
    (tmp_path / "a.png").write_bytes(data := encoded(noise(31, 57)))
    source = sources.FolderSource(tmp_path, ("a.png",), np.int32([0]), ("a",))
    expected = decode.full(data, (14, 14), mode)
    opened = of_source(source, mode, "raise", 14).open(0)
    np.testing.assert_array_equal(decode.to_array(opened), expected)
    channels = expected.shape[2]
    view = EvaluationView((14, 14), channels, None, False, "bilinear", False)
    np.testing.assert_array_equal(view.read(tmp_path / "a.png")[0], expected)


def test_a_full_view_of_crops_leaves_images_as_they_are():
    view = {"train": groups.scale_crop(14, [16, 16]), "evaluation": {"kind": "full"}}
    pixels = np.asarray(noise(31, 57))
    assert evaluation_view.create(view, SHAPE).cut_array(pixels) is pixels


def test_calibration_sees_the_evaluation_view(tmp_path):
    noise(40, 30).save(tmp_path / "a.png")
    (tmp_path / "._a.png").write_bytes(b"of a Mac")
    view = view_of("squash")
    found = compress.read_images(tmp_path, 5, view)
    np.testing.assert_array_equal(found, [view.cut(noise(40, 30))])


def test_images_of_several_sizes_cannot_calibrate_together(tmp_path):
    for i, size in enumerate(SIZES[:2]):
        noise(*size).save(tmp_path / f"{i}.png")
    with pytest.raises(UserError, match="have 2 sizes"):
        compress.read_images(tmp_path, 5, EvaluationView(None, 3, None, False, "bilinear", False))


def photo(path, orientation=6):
    """A photo of a camera that was held upright: red above, blue below."""
    pixels = np.zeros((40, 30, 3), np.uint8)
    pixels[:20, :, 0], pixels[20:, :, 2] = 255, 255
    exif = Image.Exif()
    exif[decode.ORIENTATION] = orientation
    stored = Image.fromarray(pixels).transpose(Image.Transpose.ROTATE_90)
    stored.save(path, exif=exif, quality=100, subsampling=0)
    return pixels


def test_a_photo_is_turned_as_exif_says_where_that_is_asked_for(tmp_path):
    pixels = photo(tmp_path / "a.jpg")
    view = EvaluationView(None, 3, None, False, "bilinear", False)
    turned, changes = view.read(tmp_path / "a.jpg", "exif")
    assert np.abs(turned.astype(int) - pixels).max() < 5
    assert changes == ["turned as its EXIF orientation says"]
    stored, changes = view.read(tmp_path / "a.jpg")
    np.testing.assert_array_equal(np.rot90(stored, -1), turned)
    assert changes == []


@pytest.mark.parametrize("orientation", [0, 1, 9, 2**16 - 1])
def test_an_orientation_that_turns_nothing_is_not_told(orientation, tmp_path):
    photo(tmp_path / "a.jpg", orientation)
    view = EvaluationView(None, 3, None, False, "bilinear", False)
    assert view.read(tmp_path / "a.jpg", "exif")[1] == []


def test_predict_says_in_a_line_what_it_changed_about_an_image(tiny_run, tmp_path, capsys):
    files = [tmp_path / "[b]a.jpg", tmp_path / "b.jpg"]
    for file in files:
        photo(file)
    assert launch.main(["predict", str(tiny_run), *map(str, files)]) == 0
    out = capsys.readouterr().out
    (line,) = (line for line in out.splitlines() if line.startswith("note: "))
    assert line == (
        f"note: {files[0]} and 1 more: turned as its EXIF orientation says; its color was dropped, "
        "as the network knows gray images only; it was resized to the 8x8 pixels that the network "
        "knows"
    )
    assert "[b]a.jpg" in out.replace(line, "")


def test_predict_has_nothing_to_say_of_an_image_like_those_of_training(tiny_run, tmp_path, capsys):
    noise(8, 8, 1).convert("RGB").save(tmp_path / "a.png")  # gray, however it is stored
    assert launch.main(["predict", str(tiny_run), str(tmp_path / "a.png")]) == 0
    assert "note" not in capsys.readouterr().out


def test_a_run_predicts_images_of_several_sizes(tiny_run):
    run, images = cnn_jax.load_run(tiny_run), [np.asarray(noise(*size, 1)) for size in SIZES]
    images = [image[..., None] for image in images]
    found = run.predict(images)
    each = np.concatenate([run.predict(image[None]) for image in images])
    np.testing.assert_allclose(found, each, rtol=1e-5)
    cut = np.stack([run.evaluation_view.cut_array(image) for image in images])
    np.testing.assert_array_equal(run.predict(cut), found)


@pytest.mark.parametrize("images", [np.zeros((1, 8, 8, 3), np.uint8), np.zeros((8, 8), np.uint8)])
def test_a_run_refuses_images_of_other_channels(images, tiny_run):
    with pytest.raises(UserError, match=r"predict takes uint8 images \[B, H, W, 1\], not uint8"):
        cnn_jax.load_run(tiny_run).predict(images)


def test_a_run_refuses_no_images(tiny_run):
    with pytest.raises(UserError, match="no images"):
        cnn_jax.load_run(tiny_run).predict(np.zeros((0, 8, 8, 1), np.uint8))


@pytest.fixture
def sample(shared_data, tmp_path):
    """The authors' SqueezeNet as a compressed file, and the first 100 images of ImageNet."""
    net = shared_data / "squeezenet_deep_compression" / "compressed_SqueezeNet.net"
    images = shared_data / "imagenet_sample"
    if not (net.exists() and images.exists()):
        pytest.skip(f"{net} or {images} is absent")
    assert launch.main(["compress", str(net), f"--out={tmp_path / 'net.cnn'}", "--lossless"]) == 0
    folder = tmp_path / "images"
    folder.mkdir()
    shutil.copy(images / "synsets.tsv", folder)
    for place in sorted(images.iterdir())[:100]:
        if place.is_dir():
            (folder / place.name).symlink_to(place)
    return tmp_path / "net.cnn", folder


@pytest.mark.slow
def test_the_authors_squeezenet_answers_the_same_in_predict_and_eval(sample, capsys):
    net, folder = sample
    recipe = f"--config={ROOT}/experiments/squeezenet/imagenet.py"
    out = folder.parent / "out"
    arguments = [recipe, f"--weights={net}", f"--config.data.path={folder}", f"--out={out}"]
    assert launch.main(["eval", *arguments]) == 0
    (file,) = out.glob("*/predictions.npz")
    with np.load(file) as arrays:
        expected, labels = arrays["logits"], arrays["labels"]
    run = cnn_jax.load_run(net)
    files = sorted(folder.glob("*/*.JPEG"))
    found = run.logits([run.evaluation_view.read(file)[0] for file in files])
    assert (found.argmax(1) == expected.argmax(1)).sum() == len(labels) == len(files) == 100
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "view",
    [
        {"evaluation": {}},
        {"evaluation": [1]},
        {"evaluation": {"kind": "full"}},
        {"evaluation": {"kind": "center", "size": 14}},
        {"evaluation": GROUPS["center"] | {"resize": 13}},
        {"evaluation": GROUPS["center"] | {"filters": ["cubic"]}},
    ],
)
def test_a_group_that_is_no_view_is_one_line(view):
    with pytest.raises(UserError) as caught:
        evaluation_view.create(view, SHAPE)
    assert "\n" not in str(caught.value)
