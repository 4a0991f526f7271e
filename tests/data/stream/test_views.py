"""The papers' views: windows of the right size and place, the same pixels as resize and crop."""

import io

import numpy as np
import pytest
from PIL import Image

from cnn_jax.data.stream import views
from cnn_jax.errors import UserError

COMMON = {"size": 24, "filters": ("bilinear",), "decoder": "pillow", "dct_scaling": False}
AREA = {"kind": "area_aspect", "area": (0.08, 1.0), "aspect": (3 / 4, 4 / 3)}
SCALE = {"kind": "scale_crop", "shorter_side": (28, 52), "frame": "full"}
CENTER = {"kind": "center", "resize": 28, "frame": "full"}


def rng(seed=0):
    return np.random.default_rng(seed)


def encode(image, kind="PNG", **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def picture(width, height):
    """A smooth picture with some noise, as photographs are."""
    y, x = np.mgrid[:height, :width]
    waves = [np.sin(x / 7 + k) * np.cos(y / 5 - k) * 90 + 128 for k in range(3)]
    noise = rng().normal(0, 8, (height, width, 3))
    return Image.fromarray((np.stack(waves, -1) + noise).clip(0, 255).astype(np.uint8))


@pytest.mark.parametrize("width,height", [(50, 37), (31, 90), (200, 140), (28, 28)])
@pytest.mark.parametrize("name", ["bilinear", "bicubic", "lanczos", "box"])
def test_a_center_view_is_resize_and_crop(width, height, name):
    image = picture(width, height)
    least = min(width, height)
    whole = image.resize((28 * width // least, 28 * height // least), views.FILTERS[name])
    left, top = (whole.width - 24) // 2, (whole.height - 24) // 2
    expected = np.asarray(whole.crop((left, top, left + 24, top + 24)))
    view = views.create(**COMMON | CENTER | {"filters": (name,)})(encode(image), rng())
    assert np.abs(view.astype(int) - expected).max() <= 1


def test_squashed_as_by_caffe_both_sides_become_the_same():
    image = picture(60, 40)
    expected = np.asarray(image.resize((28, 28), Image.Resampling.BILINEAR))[2:26, 2:26]
    view = views.create(**COMMON | CENTER | {"frame": "squash"})(encode(image), rng())
    assert np.abs(view.astype(int) - expected).max() <= 1


def boxes(window, count, *size, **options):
    generator = rng()
    return np.array([window(generator, *size, **options) for _ in range(count)])


@pytest.mark.parametrize("frame,least,most", [("full", 0, 60), ("center", 10, 50)])
def test_scale_crop_fills_range_and_frame(frame, least, most):
    found = boxes(views.scale_crop, 3000, 60, 40, size=24, shorter_side=(28, 52), frame=frame)
    sides = found[:, 2:] - found[:, :2]
    np.testing.assert_allclose(sides[:, 0], sides[:, 1], rtol=0.03)  # pixels stay square
    scales = np.round(24 * 40 / sides[:, 1])  # the shorter side, resized
    assert set(scales) == set(range(28, 53))
    assert found[:, 1].min() == 0 and found[:, 3].max() == 40
    assert found[:, 0].min() == pytest.approx(least, abs=1)
    assert found[:, 2].max() == pytest.approx(most, abs=1)


def test_area_aspect_draws_areas_and_aspects_of_their_ranges():
    options = {"size": 224, "area": (0.08, 1.0), "aspect": (3 / 4, 4 / 3)}
    found = boxes(views.area_aspect, 4000, 1000, 1000, **options)
    assert (found[:, :2] >= 0).all() and (found[:, 2:] <= 1000).all()
    wide, high = (found[:, 2:] - found[:, :2]).T
    small = wide * high < 0.5e6  # above, what does not fit is drawn again
    counts = np.histogram(wide[small] * high[small], 6, (0.08e6, 0.5e6))[0]
    assert counts.min() > 0.8 * counts.mean()
    assert 0.745 < (wide / high).min() < 0.76 and 1.32 < (wide / high).max() < 1.34
    assert abs((wide[small] > high[small]).mean() - 0.5) < 0.04


def test_area_square_has_the_square_of_a_uniform_ratio_as_fb_resnet_torch_had():
    options = {"size": 224, "area": (0.08, 0.5), "aspect": (3 / 4, 4 / 3)}
    window, _ = views.WINDOWS["area_square"]
    left, top, right, bottom = boxes(window, 4000, 1000, 1000, **options).T
    wide, high = right - left, bottom - top
    # Its code: w = round(sqrt(area) * ratio), h = round(sqrt(area) / ratio), swapped or not.
    roots = np.sqrt(wide / high)
    assert 0.745 < roots.min() < 0.76 and 1.32 < roots.max() < 1.34
    generator = rng(1)
    ratios = generator.uniform(3 / 4, 4 / 3, 4000)
    ratios = np.where(generator.random(4000) < 0.5, ratios, 1 / ratios)
    counts = [np.histogram(values, 6, (3 / 4, 4 / 3))[0] for values in (roots, ratios)]
    np.testing.assert_allclose(counts[0], counts[1], rtol=0.2)
    counts = np.histogram(wide * high, 6, (0.08e6, 0.5e6))[0]
    assert counts.min() > 0.8 * counts.mean()


def test_where_no_box_fits_it_is_the_central_square():
    options = {"size": 8, "area": (1.0, 1.0), "aspect": (1.0, 1.0)}
    assert views.area_aspect(rng(), 100, 40, **options) == (30, 0, 70, 40)


@pytest.mark.parametrize("kind", [AREA, SCALE, CENTER])
@pytest.mark.parametrize("width,height", [(1, 1), (3, 200), (300, 2)])
def test_an_image_of_any_shape_has_a_view(kind, width, height):
    view = views.create(**COMMON | kind)(encode(picture(width, height)), rng())
    assert view.shape == (24, 24, 3) and view.dtype == np.uint8


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("kind", [AREA, SCALE, CENTER])
def test_simplejpeg_gives_the_same_pixels_as_pillow(kind, mode):
    pytest.importorskip("simplejpeg", reason="an optional decoder")
    encoded = encode(picture(120, 90).convert(mode), "JPEG", quality=90)
    for seed in range(5):
        ours, theirs = (
            views.create(**COMMON | kind | {"decoder": decoder})(encoded, rng(seed))
            for decoder in ("pillow", "simplejpeg")
        )
        np.testing.assert_array_equal(ours, theirs)


def test_scaled_decoding_changes_little_and_only_where_the_window_is_large():
    small, large = (encode(picture(n, n), "JPEG", quality=95) for n in (40, 400))
    exact = views.create(**COMMON | CENTER)
    scaled = views.create(**COMMON | CENTER | {"dct_scaling": True})
    np.testing.assert_array_equal(exact(small, rng()), scaled(small, rng()))
    difference = np.abs(exact(large, rng()).astype(int) - scaled(large, rng()))
    assert 0 < difference.mean() < 2


def test_of_several_filters_each_comes_up():
    encoded = encode(picture(90, 90))
    names = ("nearest", "bilinear", "bicubic", "box")
    several = views.create(**COMMON | CENTER | {"filters": names})
    single = {n: views.create(**COMMON | CENTER | {"filters": (n,)})(encoded, rng()) for n in names}
    drawn = [several(encoded, rng(seed)) for seed in range(40)]
    hits = {n: sum((view == single[n]).all() for view in drawn) for n in names}
    assert sum(hits.values()) == 40 and min(hits.values()) > 2


@pytest.mark.parametrize(
    "change,message",
    [
        ({"kind": "crop"}, "unknown view.kind 'crop'"),
        ({"filters": ("linear",)}, "unknown filter in view.filters 'linear'"),
        ({"filters": ()}, "unknown filter"),
        ({"decoder": "turbo"}, "unknown decoder 'turbo'"),
        ({"size": 0}, "view.size is 0"),
        ({"resize": 20}, "view.resize is 20, less than view.size = 24"),
        ({"frame": "center"}, "unknown view.frame 'center'"),
        ({"area": (0.1, 1)}, "unknown option of the view center 'area'"),
        (SCALE | {"shorter_side": (20, 52)}, "view.shorter_side is"),
        (AREA | {"area": (0.0, 1.0)}, "view.area is"),
        (AREA | {"aspect": (2.0, 1.0)}, "view.aspect is"),
    ],
)
def test_a_view_that_cannot_be_is_refused_in_one_line(change, message):
    settings = COMMON | (change if "kind" in change else CENTER | change)
    with pytest.raises(UserError, match=message) as caught:
        views.create(**settings)
    assert "\n" not in str(caught.value)


def test_filters_have_pillows_numbers():
    for name, number in views.FILTERS.items():
        assert Image.Resampling[name.upper()] == number


def test_an_option_too_few_is_named():
    with pytest.raises(UserError, match="the view center lacks its option 'frame'"):
        views.create(**COMMON, kind="center", resize=28)


@pytest.mark.parametrize(
    "decoder,scaled,is_asked",
    [("pillow", False, False), ("simplejpeg", False, True), ("simplejpeg", True, False)],
)
def test_simplejpeg_decodes_where_it_is_asked_to_and_the_image_has_its_full_size(
    decoder, scaled, is_asked, monkeypatch
):
    asked = []
    monkeypatch.setattr(views.decode, "decode_jpeg", lambda *_: asked.append("asked"))
    encoded = encode(picture(200, 200), "JPEG")
    found = views.render(
        encoded, rng(), window=lambda rng, *size: (0, 0, 200, 200), size=24, filters=(2,),
        decoder=decoder, dct_scaling=scaled,
    )  # fmt: skip
    assert asked == ["asked"] * is_asked and found.shape == (24, 24, 3)
