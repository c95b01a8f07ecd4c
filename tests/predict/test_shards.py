import shutil

import pytest
from tiny_predictors import Local, predictor
from tiny_scenes import read

from mapmend.core.errors import JobError, MapmendError, ProjectError, RasterError
from mapmend.predict.executors import local
from mapmend.predict.executors.shard import Shard
from mapmend.predict.job import predict_scene, predict_shard
from mapmend.predict.run_block import run_block


def _bytes(result):
    return result.class_path.read_bytes(), result.confidence_path.read_bytes()


def _fail_at(monkeypatch, numbers, fault):
    """Let the blocks that are done as these numbers fail; the ids of all that are tried."""
    tried = []

    def run(predictor, scene, block, folder, **more):
        tried.append(block.id)
        if len(tried) in numbers:
            raise fault
        return run_block(predictor, scene, block, folder, **more)

    monkeypatch.setattr(local, "run_block", run)
    return tried


@pytest.mark.parametrize("order", [(1, 2, 3), (3, 1, 2)])
def test_shards_in_any_order_end_with_the_bytes_of_one_process_and_the_last_puts_them_together(
    order, model, scene, tmp_path
):
    calm = predict_scene(model, scene, tmp_path / "calm", block=96)
    made = [predict_shard(model, scene, tmp_path / "map", Shard(number, 3), block=96) for number in order]
    assert made[:2] == [None, None]
    assert _bytes(made[2]) == _bytes(calm)
    assert sorted(path.name for path in made[2].folder.iterdir()) == sorted(path.name for path in calm.folder.iterdir())


def test_every_block_is_in_one_shard():
    parts = [Shard(number, 4).part(range(10)) for number in (1, 2, 3, 4)]
    assert sorted(sum(parts, [])) == list(range(10)) and max(map(len, parts)) - min(map(len, parts)) == 1


@pytest.mark.parametrize("text", ["0/4", "5/4", "1", "a/b", "-1/2"])
def test_what_is_no_shard_is_refused(text):
    with pytest.raises(ProjectError, match="1/4"):
        Shard.parse(text)


def test_a_job_begun_by_a_shard_is_moved_and_finished_by_another_executor(model, scene, tmp_path):
    calm = predict_scene(model, scene, tmp_path / "calm", block=96)
    predict_shard(model, scene, tmp_path / "map", Shard(1, 2), block=96)
    shutil.move(tmp_path / "map", tmp_path / "moved")
    model.shapes.clear()
    assert _bytes(predict_scene(model, scene, tmp_path / "moved", block=96)) == _bytes(calm)
    done_again = len(model.shapes)
    model.shapes.clear()
    predict_scene(model, scene, tmp_path / "whole", block=96)
    assert done_again < len(model.shapes)


def test_shards_must_cut_the_scene_alike(model, scene, tmp_path):
    predict_shard(model, scene, tmp_path / "map", Shard(1, 2), block=96)
    with pytest.raises(JobError, match=r"blocks of 96 pixels, this shard's are 48.*--block"):
        predict_shard(model, scene, tmp_path / "map", Shard(2, 2), block=48)


def test_another_number_of_threads_is_refused_with_the_number_to_set(legend, scene, tmp_path):
    model = predictor(Local(), legend)
    predict_shard(model, scene, tmp_path / "map", Shard(1, 2), block=96)
    model.identity["threads"] = 7
    with pytest.raises(JobError, match="set --threads 1"):
        predict_shard(model, scene, tmp_path / "map", Shard(2, 2), block=96)


def test_a_block_that_fails_does_not_stop_the_others_and_is_tried_again(model, scene, tmp_path, monkeypatch):
    calm = predict_scene(model, scene, tmp_path / "calm", block=96)
    tried = _fail_at(monkeypatch, {2}, RasterError("cannot be read", where="a.tif"))
    with pytest.raises(JobError, match=r"1 of 4 blocks failed; the first, r0000000_c0000096_96x74: a\.tif") as fault:
        predict_scene(model, scene, tmp_path / "map", block=96)
    assert "\n" not in str(fault.value) and len(tried) == 4
    tried.clear()
    assert _bytes(predict_scene(model, scene, tmp_path / "map", block=96)) == _bytes(calm)
    assert tried == ["r0000000_c0000096_96x74"]


def test_if_every_block_fails_that_is_the_error_and_nothing_is_left(model, scene, tmp_path, monkeypatch):
    tried = _fail_at(monkeypatch, set(range(99)), RasterError("cannot be read", where="a.tif"))
    with pytest.raises(RasterError, match=r"a\.tif"):
        predict_scene(model, scene, tmp_path / "map", block=96)
    assert len(tried) == 4 and not (tmp_path / "map").exists()


def test_many_failures_in_a_row_stop_a_job_and_keep_what_is_done(model, scene, tmp_path, monkeypatch):
    tried = _fail_at(monkeypatch, set(range(3, 99)), RasterError("does not exist", where="a.tif"))
    with pytest.raises(MapmendError, match="does not exist"):
        predict_scene(model, scene, tmp_path / "map", block=48)
    assert len(tried) == 2 + 8
    assert len(list((tmp_path / "map" / "blocks").glob("*.class.tif"))) == 2


def test_a_source_that_vanishes_ends_in_one_line_and_its_return_finishes_the_job(model, scene, tmp_path, monkeypatch):
    calm = predict_scene(model, scene, tmp_path / "calm", block=96)
    source, away = tmp_path / "scene0.tif", tmp_path / "away.tif"

    def vanish(predictor, scene, block, folder, **more):
        if block.window.row:
            source.rename(away) if source.exists() else None
        return run_block(predictor, scene, block, folder, **more)

    monkeypatch.setattr(local, "run_block", vanish)
    with pytest.raises(JobError, match=r"2 of 4 blocks failed.*scene0\.tif") as fault:
        predict_scene(model, scene, tmp_path / "map", block=96)
    assert "\n" not in str(fault.value)
    monkeypatch.setattr(local, "run_block", run_block)
    with pytest.raises(RasterError, match="scene0"):
        predict_scene(model, scene, tmp_path / "map", block=96)
    away.rename(source)
    result = predict_scene(model, scene, tmp_path / "map", block=96)
    assert _bytes(result) == _bytes(calm) and (read(result.class_path) != 255).any()
