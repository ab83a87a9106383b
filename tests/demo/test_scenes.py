import numpy as np

from figment.base.records import Box
from figment.demo.scenes import Cast, compose, draw_scene, wear
from figment.demo.styles import draw_head, drawing_options

TWO = ["avataaars", "personas"]


def test_the_same_seed_draws_the_same_scene():
    first, second = (draw_scene(np.random.default_rng(1), styles=TWO, size=(200, 160)) for _ in range(2))
    assert first[1] == second[1]
    assert np.array_equal(np.asarray(first[0]), np.asarray(second[0]))


def test_heads_lie_inside_the_picture_and_do_not_hide_one_another():
    rng = np.random.default_rng(2)
    for _ in range(6):
        image, boxes = draw_scene(rng, styles=TWO, size=(300, 260))
        assert image.mode == "RGB" and image.size == (300, 260) and 1 <= len(boxes) <= 4
        for i, box in enumerate(boxes):
            assert box.x0 >= -1 and box.x1 <= 301 and box.y0 >= -1 and box.y1 <= 261
            assert all(box.iou(other) < 0.1 for other in boxes[:i])


def test_a_scene_without_heads_has_none():
    assert draw_scene(np.random.default_rng(3), styles=TWO, heads=0, size=(90, 90))[1] == []


def test_no_icon_is_a_face():
    variants = drawing_options("icons")["iconVariant"]
    assert len(variants) > 100 and not any("emoji" in variant for variant in variants)


def test_a_cut_out_has_a_transparent_ground():
    scene = compose(np.random.default_rng(4), Cast({"personas": 1.0}, heads=(1, 1), background=False), (200, 200))
    assert scene.image.mode == "RGBA" and scene.image.getpixel((0, 0))[3] == 0
    assert scene.styles == ("personas",)


def test_a_head_is_where_its_box_says():
    drawing, box = draw_head("personas", 5, 128)
    alpha = np.asarray(drawing)[:, :, 3]
    assert alpha[: int(box.y0) - 1].max(initial=0) < 200
    assert (alpha[int(box.y0) : int(box.y1), int(box.x0) : int(box.x1)] > 128).mean() > 0.5


def test_faces_end_at_the_chin_and_hands_stay_down():
    for style, least, most in (("miniavs", 0.8, 0.9), ("notionists", 0.55, 0.65)):
        for seed in range(4):
            drawing, box = draw_head(style, seed, 100)
            assert least * 100 <= box.y1 <= most * 100
            assert box.x1 - box.x0 < 1.25 * (box.y1 - box.y0)
            assert np.asarray(drawing)[int(box.y1) + 1 :, :, 3].max() > 200, "shoulders go on below the head"


def test_nobody_stands_in_front_of_another_head():
    rng = np.random.default_rng(6)
    for _ in range(6):
        scene = compose(rng, Cast({"avataaars": 1.0}, heads=(4, 4), head_px=(40, 120), seeds=8), (360, 320))
        for i, box in enumerate(scene.boxes):
            for later in scene.boxes[i + 1 :]:
                shoulders = Box(later.x0, later.y1, later.x1, later.y1 + 0.4 * later.height)
                across = min(box.x1, shoulders.x1) - max(box.x0, shoulders.x0)
                down = min(box.y1, shoulders.y1) - max(box.y0, shoulders.y0)
                assert max(0.0, across) * max(0.0, down) < 0.1 * box.width * box.height


def test_wear_keeps_size_and_mode():
    rng = np.random.default_rng(5)
    image, _ = draw_scene(rng, styles=TWO, size=(64, 48), heads=0)
    kinds = {np.asarray(wear(rng, image)).tobytes() for _ in range(30)}
    assert len(kinds) > 5
    assert all(wear(rng, image).size == (64, 48) for _ in range(10))
