"""VLAConfig and the vocabulary that follows from it."""

from dataclasses import replace

import pytest

from rvq_action.housekeeping.json_file import read_json, write_json
from tests.vla.conftest import CAMERAS
from vla.config import VLAConfig
from vla.vocabulary import VLAVocabulary


@pytest.mark.parametrize("name", ["tiny", "wall-oss"])
def test_packaged_configurations_survive_the_way_through_json(name, tmp_path):
    config = replace(VLAConfig.named(name), cameras={"arm": ("front", "wrist"), "bare": ()})
    config.save(tmp_path / "config.json")
    assert VLAConfig.load(tmp_path / "config.json") == config


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("action_hidden", 0, "action_hidden must be a whole number"),
        ("committed_frames", -1, "committed_frames must be a whole number of at least 0"),
        ("denoise_steps", 2.5, "denoise_steps must be a whole number"),
        ("flow_objective", "score", "flow_objective must be one of"),
        ("proprio", "words", "proprio must be one of"),
        ("stop_gradient", 1, "stop_gradient must be true or false"),
        ("time_scale", 1.0, "time_scale must lie below 1"),
        ("time_alpha", -1.0, "time_alpha must be a positive number"),
        ("backbone", "", "backbone must name"),
        ("cameras", {"arm": "front"}, "list of names"),
        ("cameras", {"arm": ("front", "front")}, "twice"),
    ],
)
def test_values_that_are_none_are_refused(field, value, message):
    with pytest.raises(ValueError, match=message):
        VLAConfig.tiny(**{field: value})


def test_unknown_keys_files_and_versions_are_refused(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("backbone: tiny\nchunk_size: 3\n")
    with pytest.raises(ValueError, match="chunk_size"):
        VLAConfig.named(file)
    with pytest.raises(ValueError, match="no configuration 'huge'.*wall-oss"):
        VLAConfig.named("huge")
    VLAConfig.tiny().save(tmp_path / "config.json")
    text = (tmp_path / "config.json").read_text()
    (tmp_path / "config.json").write_text(
        text.replace('"format_version": 1', '"format_version": 9')
    )
    with pytest.raises(ValueError, match="format version 9"):
        VLAConfig.load(tmp_path / "config.json")
    (tmp_path / "config.json").write_text(text.replace('"proprio": "both",', ""))
    with pytest.raises(ValueError, match="lacks .'proprio'"):
        VLAConfig.load(tmp_path / "config.json")


def test_a_folder_from_before_frames_were_committed_is_of_a_policy_without(tmp_path):
    VLAConfig.tiny(committed_frames=4).save(tmp_path / "config.json")
    assert VLAConfig.load(tmp_path / "config.json").committed_frames == 4
    data = read_json(tmp_path / "config.json")
    del data["committed_frames"]
    write_json(data, tmp_path / "config.json")
    assert VLAConfig.load(tmp_path / "config.json") == VLAConfig.tiny()


def test_a_configuration_follows_its_tokenizer(tokenizer):
    config = VLAConfig.tiny().for_tokenizer(tokenizer, CAMERAS)
    config.check_tokenizer(tokenizer)
    shape = tokenizer.config
    assert config.action_width == shape.width == 26 and config.num_slots == shape.num_slots
    with pytest.raises(ValueError, match="codebook_size: 5 here, 64 there"):
        replace(config, codebook_size=5).check_tokenizer(tokenizer)
    with pytest.raises(ValueError, match="robots"):
        replace(config, cameras={"arm": ()}).check_tokenizer(tokenizer)
    with pytest.raises(ValueError, match="Name the cameras of each robot"):
        VLAConfig.tiny().for_tokenizer(tokenizer, {"arm": ()})


def test_the_vocabulary_stands_behind_the_words():
    vocabulary = VLAVocabulary.behind(263, VLAConfig.tiny())
    assert vocabulary.actions.first_id == 263
    assert vocabulary.proprio_id == 263 + 2 * 16
    assert vocabulary.rows == 320 and vocabulary.rows % 64 == 0
    assert vocabulary.valid_ids(0) == range(263, 279)
    assert vocabulary.valid_ids(3) == range(279, 295)
