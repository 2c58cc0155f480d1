"""Base models by name, path and hub id: what is found, what is refused and in which words, and what a film records."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from sqlmodel import select

from assetforge.api.job import BaseRef, EngineRef, JobSpec, TrainPayload
from assetforge.api.params import Params
from assetforge.db.models import BaseModelRecord
from assetforge.errors import ConfigError, NotFoundError, UsageError
from assetforge.jobs.context import JobRuntime
from assetforge.paths import user_bases_file
from assetforge.services.assets import add_asset
from assetforge.services.base_models import base_ref, find_base, locate_base, record_base, recorded_base
from assetforge.services.base_registration import known_bases, register_base, unregister_base
from assetforge.services.datasets import freeze
from assetforge.services.ingest import add_references
from assetforge.services.training import plan_job, request_training

SD15 = {
    "model.diffusion_model.time_embed.0.weight": (8, 2),
    "model.diffusion_model.input_blocks.0.0.weight": (2, 4, 3, 3),
    "model.diffusion_model.middle_block.1.transformer_blocks.0.attn2.to_k.weight": (8, 768),
    "model.diffusion_model.out.2.weight": (4, 2, 3, 3),
    "first_stage_model.encoder.conv_in.weight": (4, 3, 3, 3),
}
FLUX_DEV = {
    "img_in.weight": (8, 64),
    "vector_in.in_layer.weight": (8, 4),
    "guidance_in.in_layer.weight": (8, 4),
    "double_blocks.0.img_attn.qkv.weight": (24, 8),
    "single_blocks.0.linear1.weight": (8, 8),
    "final_layer.linear.weight": (64, 8),
}
FLUX_PARTS = {
    "transformer": ["diffusers", "FluxTransformer2DModel"],
    "vae": ["diffusers", "AutoencoderKL"],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "text_encoder_2": ["transformers", "T5EncoderModel"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
}


@pytest.fixture
def sd15(write_folder, tmp_path):
    """A complete folder of SD 1.x form, 128 pixels wide."""
    settings = {"unet": {"sample_size": 32}, "vae": {"block_out_channels": [1, 2, 3]}}
    return write_folder(tmp_path / "models" / "sd15", settings=settings)


@pytest.fixture
def single(write_tensors, write_folder, tmp_path):
    """A checkpoint with UNet and autoencoder, and a folder that has settings and the text encoder."""
    settings = {"unet": {"sample_size": 64}, "vae": {"block_out_channels": [1, 2, 3, 4]}}
    folder = write_folder(tmp_path / "models" / "layout", settings=settings, without=("unet", "vae"))
    return write_tensors(tmp_path / "models" / "film-look.safetensors", SD15), folder


def test_a_folder_is_used_directly(sd15):
    (sd15 / "README.md").write_text("---\ntags: [a]\nlicense: other\nlicense_name: 'film-only'\n---\nlicense: mit\n")
    base = find_base(str(sd15))
    assert (base.name, base.family, base.resolution, base.path) == ("sd15", "sd15", 128, sd15)
    assert (base.licence, base.config, base.registered, len(base.digest)) == ("film-only", None, False, 64)
    assert base_ref(base) == BaseRef(name="sd15", family="sd15", digest=base.digest, path=str(sd15), resolution=128)


def test_a_name_stands_for_a_folder_with_what_was_said_about_it(sd15, home):
    made = register_base("our-sd", str(sd15), licence="CC-BY-4.0", resolution=96)
    assert find_base("our-sd") == made
    assert (made.name, made.licence, made.resolution, made.registered) == ("our-sd", "CC-BY-4.0", 96, True)
    assert locate_base("our-sd") == sd15
    assert user_bases_file() == home / "bases.toml"
    # The same files are the same model, by their path and wherever they were copied.
    copy = shutil.copytree(sd15, sd15.with_name("copy"))
    assert find_base(str(sd15)) == made
    assert find_base(str(copy)).name == "our-sd"
    assert find_base(str(copy)).path == copy


def test_a_hub_id_is_used_directly_and_pinned_when_it_is_registered(sd15, write_snapshot):
    first = write_snapshot(sd15, "org/sd", "aaaa")
    base = find_base("org/sd")
    assert (base.name, base.family, base.path) == ("org/sd", "sd15", first)
    register_base("pinned", "org/sd")
    assert "org/sd@aaaa" in user_bases_file().read_text()
    (sd15 / "unet" / "config.json").write_text(json.dumps({"sample_size": 64}))
    write_snapshot(sd15, "org/sd", "bbbb")
    assert find_base("org/sd").resolution == 256
    assert find_base("pinned").path == first
    assert find_base("org/sd@aaaa").name == "pinned"
    with pytest.raises(NotFoundError, match="hf download org/other"):
        find_base("org/other")


def test_a_single_file_needs_a_folder_and_then_both_count(single):
    file, folder = single
    with pytest.raises(UsageError, match=r"film-look\.safetensors is a single sd15 file, .*--config FOLDER"):
        find_base(str(file))
    base = register_base("look", str(file), config=str(folder))
    assert (base.family, base.resolution, base.path, base.config) == ("sd15", 512, file, folder)
    assert base_ref(base).config == str(folder)
    assert find_base(str(file)) == find_base("look") == base
    (folder / "tokenizer" / "merges.txt").write_text("a b")
    with pytest.raises(UsageError, match=r"'look' in .* are not those that were registered.*--config .* --replace"):
        find_base("look")
    assert register_base("look", str(file), config=str(folder), replaces=True).digest != base.digest


def test_the_folder_of_a_single_file_may_be_a_hub_id(single, write_snapshot):
    file, folder = single
    snapshot = write_snapshot(folder, "org/layout", "aaaa")
    assert register_base("look", str(file), config="org/layout").config == snapshot
    assert 'config = "org/layout@aaaa"' in user_bases_file().read_text()


def test_a_folder_that_does_not_fit_a_single_file_is_refused(single, write_tensors, write_folder, tmp_path):
    file, folder = single
    write_folder(tmp_path / "bare", without=("unet", "vae", "text_encoder"))
    with pytest.raises(UsageError, match=r"bare/text_encoder has no weights, and the single file holds none"):
        register_base("x", str(file), config=str(tmp_path / "bare"))
    flux = write_tensors(tmp_path / "dev.safetensors", FLUX_DEV)
    with pytest.raises(UsageError, match=r"layout has the settings of a Stable Diffusion 1\.x model.*is FLUX\.1"):
        register_base("x", str(flux), config=str(folder))
    schnell = write_folder(
        tmp_path / "schnell",
        "FluxPipeline",
        components=FLUX_PARTS,
        settings={"transformer": {"guidance_embeds": False, "num_layers": 1}},
        without=("transformer",),
    )
    with pytest.raises(UsageError, match=r"says guidance_embeds False, .* tensors say True: they are two models"):
        register_base("x", str(flux), config=str(schnell))
    with pytest.raises(UsageError, match="is no folder"):
        register_base("x", str(file), config=str(flux))
    with pytest.raises(UsageError, match="has its own settings"):
        register_base("x", str(folder), config=str(folder))
    assert known_bases("sd15") == []


def test_a_transformer_alone_is_completed_by_a_folder(write_tensors, write_folder, tmp_path):
    flux = write_tensors(tmp_path / "dev.safetensors", FLUX_DEV)
    folder = write_folder(
        tmp_path / "dev",
        "FluxPipeline",
        components=FLUX_PARTS,
        settings={"transformer": {"guidance_embeds": True, "num_layers": 1, "num_single_layers": 1}},
        without=("transformer",),
    )
    base = register_base("dev", str(flux), config=str(folder))
    assert (base.family, base.resolution) == ("flux1", 1024)


def test_what_is_no_usable_model_is_said(sd15, write_tensors, write_folder, tmp_path):
    for name in ("old.ckpt", "old.bin"):
        (tmp_path / name).write_bytes(b"\x80\x04")
        with pytest.raises(UsageError, match=rf"{name} is a pickle, and only safetensors are opened"):
            find_base(str(tmp_path / name))
    (tmp_path / "lie.safetensors").write_bytes(b"\x80\x04 nothing that is a header")
    with pytest.raises(UsageError, match="not a safetensors file"):
        find_base(str(tmp_path / "lie.safetensors"))
    lora = write_tensors(tmp_path / "lora.safetensors", {"lora_unet_x.lora_down.weight": (4, 4)})
    with pytest.raises(UsageError, match="is a LoRA, not a base model"):
        find_base(str(lora))
    vae = write_tensors(tmp_path / "vae.safetensors", {"decoder.conv_in.weight": (4, 4)})
    with pytest.raises(UsageError, match=r"tensors of no known family.*--family"):
        find_base(str(vae))
    with pytest.raises(UsageError, match=r"has no model_index\.json"):
        find_base(str(tmp_path))
    with pytest.raises(NotFoundError, match="no file or folder /gone/model"):
        find_base("/gone/model")
    (sd15 / "model_index.json").write_text("[]")
    with pytest.raises(UsageError, match=r"model_index\.json holds no settings"):
        find_base(str(sd15))


def test_what_is_missing_in_a_folder_is_named(sd15, write_folder, tmp_path):
    parts = {"weight_map": {"a": "x-1-of-2.safetensors", "b": "x-2-of-2.safetensors"}}
    listing = sd15 / "unet" / "diffusion_pytorch_model.safetensors.index.json"
    listing.write_text(json.dumps(parts))
    (sd15 / "unet" / "x-1-of-2.safetensors").write_bytes(b"")
    with pytest.raises(UsageError, match=r"x-2-of-2\.safetensors is missing \(1 of 2 parts\)"):
        find_base(str(sd15))
    listing.unlink()
    shutil.rmtree(sd15 / "tokenizer")
    with pytest.raises(UsageError, match="is incomplete: it has no tokenizer"):
        find_base(str(sd15))
    half = write_folder(tmp_path / "half", without=("text_encoder",))
    (half / "text_encoder" / "pytorch_model.bin").write_bytes(b"\x80\x04")
    with pytest.raises(UsageError, match=r"text_encoder/pytorch_model\.bin is a pickle"):
        find_base(str(half))


def test_an_unknown_pipeline_is_named_and_a_family_can_be_given(write_folder, tmp_path):
    folder = write_folder(tmp_path / "edit", "StableDiffusionInpaintPipeline")
    with pytest.raises(UsageError, match=r"edit is a StableDiffusionInpaintPipeline, .*--family: sd15, sd2"):
        find_base(str(folder))
    with pytest.raises(UsageError, match=r"no model family 'sd5'. Did you mean 'sd"):
        register_base("edit", str(folder), family="sd5")
    assert register_base("edit", str(folder), family="sd15").family == "sd15"
    assert find_base(str(folder)).name == "edit"


def test_a_plugin_s_own_family_lies_on_disk_as_it_likes(tmp_path):
    copy = shutil.copytree(locate_base("example-linear"), tmp_path / "linear")
    with pytest.raises(UsageError, match=r"does not say the resolution.*--resolution"):
        register_base("mine", str(copy), family="example-linear")
    mine = register_base("mine", str(copy), family="example-linear", resolution=16)
    assert mine.digest == find_base("example-linear").digest
    assert [known.name for known in known_bases("example-linear")] == ["mine", "example-linear"]


def test_names_are_not_taken_twice(sd15, single, write_folder, tmp_path):
    register_base("our-sd", str(sd15), licence="CC0-1.0")
    file, folder = single
    with pytest.raises(UsageError, match=r"'our-sd' is registered already, with other files .*--replace"):
        register_base("our-sd", str(file), config=str(folder))
    assert register_base("our-sd", str(sd15), resolution=64).licence == "CC0-1.0"
    assert register_base("our-sd", str(file), config=str(folder), replaces=True).licence == ""
    with pytest.raises(UsageError, match="taken by a base model of assetforge-example"):
        register_base("example-linear", str(sd15))
    for words, wrong in (("cannot be the name", {"name": "a/b"}), ("0 pixels", {"resolution": 0})):
        with pytest.raises(UsageError, match=words):
            register_base(**{"name": "x", "source": str(sd15), **wrong})
    register_base("other", str(file), config=str(write_folder(tmp_path / "other", without=("unet",))))
    with pytest.raises(UsageError, match="registered as our-sd and as other"):
        find_base(str(file))


def test_forgetting_a_name_leaves_the_files(sd15):
    register_base("our-sd", str(sd15))
    unregister_base("our-sd")
    assert sd15.is_dir()
    with pytest.raises(NotFoundError, match="You registered no base model named 'our-sd'"):
        unregister_base("our-sd")
    with pytest.raises(NotFoundError, match="comes with assetforge-example"):
        unregister_base("example-linear")
    with pytest.raises(NotFoundError, match=r"no base model named 'our-sd'.*assetforge base add"):
        find_base("our-sd")


def test_the_file_of_registrations_is_the_user_s_too(sd15):
    register_base("our-sd", str(sd15))
    file = user_bases_file()
    file.write_text(f"# mine\n{file.read_text()}")
    register_base("again", str(sd15), licence='say "yes"')
    assert file.read_text().startswith("# mine\n[our-sd]\n")
    assert find_base("again").licence == 'say "yes"'
    with pytest.raises(NotFoundError, match="Did you mean our-sd"):
        find_base("our-sdd")
    file.write_text(file.read_text().replace("licence", "license"))
    with pytest.raises(ConfigError, match=r"no setting 'license'.*belongs to the base model 'again'.*'licence'"):
        find_base("our-sd")
    for text, words in (("x = [", "is not TOML"), ("x = 1", "'x' is a value"), ("[x]\nfamily = 'a'", "is missing")):
        file.write_text(text)
        with pytest.raises(ConfigError, match=words):
            register_base("third", str(sd15))
        assert file.read_text() == text


def test_models_that_are_gone_are_still_listed(sd15, write_snapshot, hub):
    register_base("folder", str(sd15))
    write_snapshot(sd15, "org/sd", "aaaa")
    register_base("hub", "org/sd")
    shutil.rmtree(sd15)
    shutil.rmtree(hub)
    problems = {known.name: known.problem for known in known_bases()}
    assert "no file or folder" in problems["folder"]
    assert "Hugging Face cache" in problems["hub"]
    assert problems["example-linear"] == ""
    with pytest.raises(NotFoundError):
        find_base("folder")


def test_a_film_records_what_is_known_and_corrections_of_it(project, sd15, single):
    plain = find_base(str(sd15))
    with project.write() as session:
        first = record_base(session, plain)
    register_base("our-sd", str(sd15), licence="CC0-1.0", resolution=96)
    with project.write() as session:
        assert record_base(session, find_base("our-sd")) == first
        assert record_base(session, plain) == first
        row = session.get_one(BaseModelRecord, first)
        assert (row.name, row.family, row.digest) == ("our-sd", "sd15", plain.digest)
        assert (row.licence, row.resolution, row.path, row.config) == ("CC0-1.0", 96, str(sd15), "")
    file, folder = single
    look = register_base("look", str(file), config=str(folder))
    with project.write() as session:
        row = session.get_one(BaseModelRecord, record_base(session, look))
        assert (row.config, recorded_base(row)) == (str(folder), replace(look, registered=False))


def test_a_film_that_moved_finds_its_base_where_it_is_registered_now(project, sd15):
    with project.write() as session:
        record_base(session, find_base(str(sd15)))
    moved = sd15.rename(sd15.with_name("moved"))
    with project.read() as session:
        row = session.exec(select(BaseModelRecord)).one()
        assert recorded_base(row).path == sd15
        register_base("here-now", str(moved))
        assert recorded_base(row).path == moved


def runtime(folder):
    engine = EngineRef(kind="trainer", name="t", version="1", plugin="p", plugin_version="1", load="a:b")
    spec = JobSpec(project="p", job=1, kind="train", engine=engine, payload={})
    folder.mkdir()
    return JobRuntime(folder, spec, 1, Params())


def test_a_job_opens_only_what_it_was_made_for(single, tmp_path):
    file, folder = single
    ref = base_ref(register_base("look", str(file), config=str(folder)))
    job = runtime(tmp_path / "work")
    assert job.base_path(ref) == file
    assert job.base_path(ref.model_copy(update={"path": ""})) == file
    with pytest.raises(NotFoundError, match="is not the one this job was made for"):
        job.base_path(ref.model_copy(update={"config": ""}))
    shutil.rmtree(folder)
    with pytest.raises(NotFoundError, match=f"no model in {folder}"):
        job.base_path(ref)


def test_a_run_on_a_registered_base_tells_the_trainer_where_it_lies(project, make_png, tmp_path):
    add_asset(project, "coat", "costume", trigger="rdcoat", class_word="outfit")
    for seed in range(9):
        make_png(tmp_path / "pictures" / f"{seed}.png", seed=seed)
    add_references(project, "coat", [tmp_path / "pictures"])
    freeze(project, "coat")
    weights = Path(shutil.copy(locate_base("example-linear") / "model.safetensors", tmp_path / "linear.safetensors"))
    (tmp_path / "extra").mkdir()
    (tmp_path / "extra" / "settings.json").write_text("{}")
    register_base("mine", str(weights), config=str(tmp_path / "extra"), family="example-linear", resolution=16)
    heard = []
    request = request_training(project, "coat", base="mine", hashing=lambda done, total: heard.append(done))
    assert heard
    base = TrainPayload.model_validate(plan_job(project, request.job).spec.payload).base
    assert (base.name, base.family, base.resolution) == ("mine", "example-linear", 16)
    assert (base.path, base.config) == (str(weights), str(tmp_path / "extra"))
    assert base.digest == find_base("mine").digest
