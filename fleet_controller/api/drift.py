"""Drift over HTTP: what devices have counted, added up."""

from typing import Annotated, Any

from litestar import Request, get
from litestar.params import Parameter

from fleet_contract.baseline import Baseline, fingerprint
from fleet_contract.bundle import BundleError, read_bundle
from fleet_controller.api.access import Role, needs
from fleet_controller.api.errors import ApiError
from fleet_controller.drift.measuring import measure
from fleet_controller.registry.service import Registry
from fleet_controller.rollouts.store import device_labels
from fleet_controller.services import Services

Ask = Request[Any, Any, Any]
DAY = 86_400.0


@get("/models/{model:str}/drift", guards=[needs(Role.VIEWER)], sync_to_thread=True)
def get_drift(
    request: Ask,
    model: str,
    since: Annotated[float, Parameter(description="Of the last so many seconds.", gt=0)] = DAY,
    labels: Annotated[str, Parameter(description="Only devices with these labels: key=value,key=value.")] = "",
) -> dict[str, Any]:
    """How far inputs and answers of a model's releases have moved from their baselines, over all devices or some."""
    services: Services = request.app.state.services
    wanted = dict(_pair(text) for text in labels.split(",") if text)
    published = [item for item in request.app.state.registry.repository.releases() if item.release.model == model]
    if not published:
        raise ApiError(404, "not_found", f"there is no model {model!r}; `fleet model list` shows what there is")
    versions = {item.release.release: item.release.version for item in published}
    with services.database.read() as connection:
        known = device_labels(connection)
        chosen = [device for device, own in known.items() if wanted.items() <= own.items()]
        start = services.clock() - since
        view = measure(connection, model, chosen, start, lambda release: _baselines(request.app.state.registry, model, release))
    groups = [{"version": versions.get(group["release"])} | group for group in view["groups"]]
    return view | {"groups": groups}


def _pair(text: str) -> tuple[str, str]:
    key, separator, value = text.partition("=")
    if not key or not separator:
        raise ApiError(400, "bad_request", f"labels: {text!r} is not of the form key=value")
    return key, value


def _baselines(registry: Registry, model: str, release: int) -> dict[str, Baseline]:
    """The baselines of a release's variants, by their fingerprints. A bundle that cannot be read has none."""
    found: dict[str, Baseline] = {}
    for item in registry.repository.releases():
        if (item.release.model, item.release.release) == (model, release):
            try:
                with registry.repository.target_file(item).open("rb") as file:
                    baseline = read_bundle(file).baseline
            except (BundleError, OSError):
                continue
            if baseline is not None:
                found[fingerprint(baseline)] = baseline
    return found
