"""Faces: what the detector's numbers mean, where a face is put, and that a picture without one says nothing."""

import numpy as np
import pytest

from assetforge.errors import UsageError
from assetforge_vision.alignment import PLACES, aligned, similarity
from assetforge_vision.faces import FaceIdentity
from assetforge_vision.params import FaceParams
from assetforge_vision.scrfd import Face, anchors, decode, largest_face, letterboxed, suppress
from onnx_files import detector_model, pooling_model
from vision_world import picture


def nothing(side=640):
    """The nine outputs of a detector that sees nothing: scores, boxes, points."""
    counts = [2 * (side // stride) ** 2 for stride in (8, 16, 32)]
    return [np.zeros((count, width), np.float32) for width in (1, 4, 10) for count in counts]


def show(outputs, stride, index, score, box, points, side=640):
    """Put a face at an anchor: a box in pixels, points in pixels."""
    level, place = (8, 16, 32).index(stride), anchors(side, stride)[index]
    outputs[level][index] = score
    left, top, right, bottom = box
    outputs[3 + level][index] = (
        np.asarray([place[0] - left, place[1] - top, right - place[0], bottom - place[1]]) / stride
    )
    outputs[6 + level][index] = ((np.asarray(points) - place) / stride).ravel()


def test_anchors_stand_twice_at_every_place_row_by_row():
    assert anchors(64, 32).tolist() == [[0, 0], [0, 0], [32, 0], [32, 0], [0, 32], [0, 32], [32, 32], [32, 32]]
    assert anchors(640, 8).shape == (12800, 2)
    assert anchors(640, 8)[2 * 80 + 3].tolist() == [8, 8]


def test_decoding_by_hand():
    outputs = nothing(64)
    # Stride 16, 4 places a row: anchor 13 is the second one of place (2, 1), which is the pixel (32, 16).
    outputs[1][13] = 0.75
    outputs[4][13] = [1.0, 0.5, 1.5, 2.0]
    outputs[7][13] = [-0.5, 0, 0.5, 0, 0, 0.5, -0.25, 1, 0.25, 1]
    (face,) = decode(outputs, 64, 0.5)
    assert face.score == 0.75
    assert face.box.tolist() == [16, 8, 56, 48]
    assert face.points.tolist() == [[24, 16], [40, 16], [32, 24], [28, 32], [36, 32]]
    assert face.area == 1600
    assert decode(outputs, 64, 0.8) == []


def test_outputs_with_a_first_dimension_and_in_groups_are_the_same():
    outputs = nothing(64)
    outputs[0][5] = 0.9
    (face,) = decode([one[None] for one in outputs], 64, 0.5)
    assert face.box.tolist() == [16, 0, 16, 0]
    with pytest.raises(ValueError, match="SCRFD"):
        decode(outputs[:6], 64, 0.5)
    with pytest.raises(ValueError, match="SCRFD"):
        decode(outputs, 128, 0.5)


def face(score, left, top, right, bottom):
    return Face(score, np.asarray([left, top, right, bottom], np.float32), np.zeros((5, 2), np.float32))


def test_overlapping_faces_are_one():
    # 10 x 10 with edges counted: shifted by 4 they share 60 of 140 (0.43), shifted by 5 50 of 150 (0.33).
    sure, near, apart = face(0.9, 0, 0, 9, 9), face(0.8, 4, 0, 13, 9), face(0.7, 0, 5, 9, 14)
    assert [one.score for one in suppress([apart, near, sure])] == [0.9, 0.7]


def test_the_largest_face_speaks_in_pixels_of_the_picture():
    small, large = face(0.9, 0, 0, 10, 10), face(0.6, 20, 20, 60, 80)
    found = largest_face([small, large], 0.5)
    assert (found.score, found.box.tolist()) == (0.6, [40, 40, 120, 160])
    assert largest_face([], 0.5) is None


def test_the_detector_sees_the_picture_in_the_upper_left_of_a_black_square():
    square, scale = letterboxed(np.full((100, 200, 3), 255, np.uint8), 640)
    assert scale == 3.2
    assert square.shape == (3, 640, 640)
    np.testing.assert_allclose(square[:, :320], 127.5 / 128, rtol=1e-5)
    np.testing.assert_allclose(square[:, 320:], -127.5 / 128, rtol=1e-5)
    assert letterboxed(np.zeros((200, 100, 3), np.uint8), 640)[1] == 3.2


def test_the_similarity_that_puts_points_into_place_by_hand():
    np.testing.assert_allclose(similarity(PLACES), [[1, 0, 0], [0, 1, 0]], atol=1e-12)
    np.testing.assert_allclose(similarity(PLACES * 2 + (100, 50)), [[0.5, 0, -50], [0, 0.5, -25]], atol=1e-12)
    turned = np.stack([-PLACES[:, 1], PLACES[:, 0]], axis=1)
    np.testing.assert_allclose(similarity(turned), [[0, 1, 0], [-1, 0, 0]], atol=1e-12)
    assert similarity(np.ones((5, 2))) is None


def test_the_similarity_is_the_best_there_is():
    random = np.random.default_rng(0)
    points = PLACES @ [[1.3, 0.4], [-0.4, 1.3]] + random.normal(0, 4, (5, 2)) + 30
    best = similarity(points)

    def error(turn):
        return ((points @ turn[:, :2].T + turn[:, 2] - PLACES) ** 2).sum()

    for _ in range(200):
        a, b, x, y = random.normal(0, 0.02, 4) * (1, 1, 50, 50)
        assert error(best + np.asarray([[a, -b, x], [b, a, y]])) > error(best)


def test_a_face_is_sampled_in_its_place_and_black_outside():
    image = picture(4, 300, 400)
    face = aligned(image, (PLACES * 2 + (100, 50)).astype(np.float32))
    assert (face == image[50:274:2, 100:324:2]).all()
    shifted = aligned(image, (PLACES - (10, 0)).astype(np.float32))
    assert (shifted[:, :10] == 0).all()
    assert (shifted[:, 11:] == image[:112, 1:102]).all()
    halfway = aligned(image, (PLACES + np.asarray((0.5, 0))).astype(np.float32))
    expected = (image[:112, :112].astype(float) + image[:112, 1:113]) / 2
    assert np.abs(halfway - expected).max() <= 0.51
    assert aligned(image, np.ones((5, 2), np.float32)) is None


@pytest.fixture
def networks(models):
    """A detector that sees two faces in every picture that is not dark, and a recogniser that gives mean colours."""
    outputs = nothing()
    show(outputs, 8, 2 * (80 * 20 + 25), 1.0, (180, 100, 240, 190), PLACES + np.asarray((150, 100)))
    show(outputs, 16, 2 * (40 * 10 + 12), 0.9, (200, 120, 420, 380), PLACES * 2 + (200, 120))
    folder = models / "face-identity"
    detector_model(folder / "det_10g.onnx", outputs)
    pooling_model(folder / "w600k_r50.onnx", 112, 28)
    return folder


def bright(seed, height=640, width=640):
    return (picture(seed, height, width) // 8 + 223).astype(np.uint8)


def test_the_vector_is_that_of_the_largest_face(networks):
    image = bright(1)
    (vector,) = FaceIdentity(FaceParams(device="cpu")).embed([image])
    shown = (image[120:344:2, 200:424:2].astype(np.float64) - 127.5) / 127.5
    expected = shown.reshape(4, 28, 4, 28, 3).mean(axis=(1, 3)).transpose(2, 0, 1).ravel()
    np.testing.assert_allclose(vector, expected / np.linalg.norm(expected), atol=1e-5)
    assert vector.dtype == np.float32


def test_a_picture_without_a_face_gives_zeros(networks):
    dark = np.zeros((640, 640, 3), np.uint8)
    vectors = FaceIdentity().embed([dark, bright(1), dark])
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), [0, 1, 0], rtol=1e-6)
    assert not vectors[[0, 2]].any()
    assert FaceIdentity().embed([dark]).shape == (1, 48)
    assert FaceIdentity().embed([]).shape == (0, 48)


def test_the_wanted_confidence_decides(networks):
    # The brightness of the picture, about 0.9, scales both scores, of 0.9 and 1.
    strict = FaceIdentity(FaceParams(min_confidence=0.97))
    assert not strict.embed([bright(1)]).any()


@pytest.mark.parametrize("batch", ["n", 1, 2])
def test_batches_change_nothing_whatever_the_file_takes(networks, batch):
    pooling_model(networks / "w600k_r50.onnx", 112, 28, batch)
    images = [bright(seed) for seed in range(3)]
    together = FaceIdentity(FaceParams(batch_size=3)).embed(images)
    alone = FaceIdentity(FaceParams(batch_size=1))
    np.testing.assert_allclose(together, np.concatenate([alone.embed([one]) for one in images]), atol=1e-6)


def test_files_that_are_something_else_are_refused(networks):
    pooling_model(networks / "det_10g.onnx", 640, 32)
    with pytest.raises(UsageError, match="is no SCRFD"):
        FaceIdentity().embed([bright(1)])
    (networks / "det_10g.onnx").write_bytes(b"not a network")
    with pytest.raises(UsageError, match="is not a readable ONNX model"):
        FaceIdentity().embed([bright(1)])
