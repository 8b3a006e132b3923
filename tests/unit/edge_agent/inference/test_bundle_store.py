from pathlib import Path
from typing import Any

import pytest

from edge_agent.inference.bundle_store import BundleStore, hex_of
from fleet_contract.bundle import BundleError
from fleet_contract.reasons import Reason


def test_a_bundle_is_kept_as_the_tar_that_came_and_points_at_the_models_bytes(make_bundle: Any, store: BundleStore) -> None:
    model = b"any bytes: the store does not load them"
    bundle = make_bundle(model)
    data = bundle.path.read_bytes()
    assert data[bundle.entry.offset : bundle.entry.offset + bundle.entry.size] == model
    assert bundle.path.stem == hex_of(bundle.digest)
    assert store.open("leak", bundle.digest) == bundle
    assert list(store.incoming().iterdir()) == []


def test_unused_bundles_are_removed_and_the_others_stay(make_bundle: Any, store: BundleStore) -> None:
    first, second = make_bundle(), make_bundle(version="1.1.0")
    assert store.remove_unused([("leak", second.digest)]) == (("leak", first.digest),)
    assert store.list() == [("leak", second.digest)]


def test_a_file_that_is_no_bundle_is_refused_and_left_where_it_was(store: BundleStore) -> None:
    path = store.incoming() / "part"
    path.write_bytes(b"no tar")
    with pytest.raises(BundleError):
        store.add(path, "sha256:" + "0" * 64)
    assert path.exists()
    assert store.list() == []


def test_a_bundle_that_is_not_there_says_so(store: BundleStore) -> None:
    with pytest.raises(BundleError, match="not in the store") as caught:
        store.open("leak", "sha256:" + "0" * 64)
    assert caught.value.reason is Reason.BUNDLE_INVALID


@pytest.mark.parametrize("digest", ["", "sha256:", "sha256:../../x", "0" * 63, "A" * 64])
def test_a_digest_that_is_none_never_becomes_a_path(store: BundleStore, tmp_path: Path, digest: str) -> None:
    with pytest.raises(ValueError, match="digest"):
        store.open("leak", digest)
