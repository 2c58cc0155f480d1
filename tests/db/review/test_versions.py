import pickle

import numpy as np
import pytest
from safetensors.numpy import save_file

from assetforge.errors import NotFoundError, StorageError, UsageError
from assetforge.services.releases import approve, set_alias
from assetforge.services.rendering import request_render
from assetforge.services.versions import import_version, list_versions, resolve_version, show_version


def test_addresses(world):
    project = world.project
    assert resolve_version(project, "mara/v1").number == 1
    assert resolve_version(project, "mara@latest").address == "mara/v2"
    approve(project, "mara/v1", why="the first that holds", review="skipped")
    set_alias(project, "mara@hero", "mara/v2")
    assert resolve_version(project, "mara@approved").address == "mara/v1"
    assert [(info.address, info.stage, info.aliases) for info in list_versions(project, "mara")] == [
        ("mara/v2", "candidate", ("hero", "latest")),
        ("mara/v1", "approved", ("approved",)),
    ]
    for missing in ("mara/v7", "nobody/v1", "mara@nope"):
        with pytest.raises(NotFoundError):
            resolve_version(project, missing)
    with pytest.raises(UsageError):
        resolve_version(project, "mara")
    with pytest.raises(NotFoundError):
        list_versions(project, "nobody")


def test_lineage_is_whole(world, tmp_path):
    job = request_render(world.project, "mara/v2").job_id
    world.render(job, tmp_path)
    detail = show_version(world.project, "mara/v2")
    assert detail.version.dataset == "mara/d2"
    assert detail.parent == "mara/v1"
    assert (detail.base, detail.base_digest) == ("tiny", "b" * 64)
    assert detail.params["rank"] == 16
    assert detail.trainer == "paint-lora 1 (review-plugin 1.0)"
    assert detail.metadata["ss_steps"] == "300"
    assert detail.tensors == 2
    assert [(one.suite, one.state, one.cells) for one in detail.evaluations] == [("tiny-core", "succeeded", 8)]
    assert detail.publications == ()


def test_a_missing_file_is_said(world):
    info = resolve_version(world.project, "mara/v1")
    world.project.blobs.path(info.weights).unlink()
    with pytest.raises(StorageError, match="missing from the store"):
        show_version(world.project, "mara/v1")


def test_a_foreign_file_becomes_the_next_version(world):
    path = world.weights("from-elsewhere", 7.0, {"ss_output_name": "Mara [final]", "modelspec.title": "Mara"})
    info, new = import_version(world.project, "mara", path, note="from the previous film")
    assert new
    assert (info.address, info.family, info.run, info.step, info.origin) == (
        "mara/v3",
        "sd15",
        None,
        300,
        "from-elsewhere.safetensors",
    )
    detail = show_version(world.project, info.address)
    assert detail.metadata["ss_output_name"] == "Mara [final]"
    assert detail.params == {}
    assert world.project.blobs.path(info.weights).read_bytes() == path.read_bytes()

    # The same tensors with other metadata are the same LoRA.
    other = world.weights("renamed", 7.0, {"modelspec.title": "Another name"})
    again, new = import_version(world.project, "mara", other)
    assert (again.address, new) == ("mara/v3", False)


def test_an_imported_version_can_be_rendered_on_the_film_s_only_base(world):
    info, _ = import_version(world.project, "mara", world.weights("elsewhere", 9.0))
    request = request_render(world.project, info.address)
    assert request.evaluations[1].subject == "base tiny"


def test_pickles_and_other_files_are_refused(world, tmp_path):
    bad = tmp_path / "evil.safetensors"
    bad.write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(UsageError, match="is a pickle"):
        import_version(world.project, "mara", bad)
    bad.write_bytes(b"PK\x03\x04" + b"\0" * 100)
    with pytest.raises(UsageError, match="is a pickle"):
        import_version(world.project, "mara", bad)
    for data in (b"", b"text", b"\xff" * 64):
        bad.write_bytes(data)
        with pytest.raises(UsageError, match="not a safetensors file"):
            import_version(world.project, "mara", bad)
    good = world.weights("whole", 3.0)
    bad.write_bytes(good.read_bytes()[:-4])
    with pytest.raises(UsageError, match="cut off"):
        import_version(world.project, "mara", bad)
    save_file({"unet.conv_in.weight": np.zeros((2, 2), np.float32)}, str(bad))
    with pytest.raises(UsageError, match="not a LoRA"):
        import_version(world.project, "mara", bad)
    save_file({"x.lora_A.weight": np.zeros((2, 2), np.float32)}, str(bad))
    with pytest.raises(UsageError, match="which model family"):
        import_version(world.project, "mara", bad)
    assert import_version(world.project, "mara", bad, family="sd15")[1]
    with pytest.raises(NotFoundError):
        import_version(world.project, "mara", tmp_path / "nothing.safetensors")
    with pytest.raises(NotFoundError):
        import_version(world.project, "nobody", good)
