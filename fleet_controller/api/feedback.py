"""What was right for results, over HTTP; and how right models were."""

from dataclasses import asdict
from typing import Annotated, Any, Final

import msgspec
from litestar import Request, get, post
from litestar.params import Parameter
from msgspec import Meta, Struct

from fleet_contract.feedback import Truth
from fleet_controller.api.access import Role, needs
from fleet_controller.api.devices import iso
from fleet_controller.api.errors import ApiError
from fleet_controller.feedback.accuracy import By, Wanted, measure
from fleet_controller.feedback.giving import Given
from fleet_controller.services import Services
from fleet_controller.store.published import list_releases

Ask = Request[Any, Any, Any]
MOST_TRUTHS: Final = 1000


class NewTruth(Struct, forbid_unknown_fields=True):
    """One of `POST /feedback`: a label or a value, and the device where several have a result of this id."""

    result_id: str
    label: str | None = None
    value: float | None = None
    device: str | None = None
    source: str | None = None
    time: str | None = None


class NewFeedback(Struct, forbid_unknown_fields=True):
    """Body of `POST /feedback`."""

    truths: Annotated[tuple[NewTruth, ...], Meta(min_length=1, max_length=MOST_TRUTHS)]


@post("/feedback", guards=[needs(Role.OPERATOR)], status_code=200, sync_to_thread=True)
def give_feedback(request: Ask, data: NewFeedback) -> dict[str, Any]:
    """Take in what was right. Each truth stands alone: those that are refused are listed with their place and reason."""
    services: Services = request.app.state.services
    operator = request.state.operator
    given = [
        Given(
            Truth(
                result_id=each.result_id,
                label=each.label,
                value=each.value,
                source=each.source,
                by=operator,
                time=each.time,
            ),
            each.device,
        )
        for each in data.truths
    ]
    answered = services.feedbacks.give(given, operator)
    view: dict[str, Any] = msgspec.to_builtins(asdict(answered))
    del view["devices"]
    return view


@get("/results/{result_id:str}/feedback", guards=[needs(Role.VIEWER)], sync_to_thread=True)
def get_feedback(request: Ask, result_id: str) -> list[dict[str, Any]]:
    """All that was ever said of the results of this id, oldest first; `replaced` is null on what holds."""
    rows = request.app.state.services.feedbacks.history(result_id)
    return [row | {"received": iso(row["received"]), "replaced": iso(row["replaced"])} for row in rows]


@get("/models/{model:str}/accuracy", guards=[needs(Role.VIEWER)], sync_to_thread=True)
def get_accuracy(
    request: Ask,
    model: str,
    version: str | None = None,
    device: str | None = None,
    since: Annotated[float | None, Parameter(description="Only results that came in the last so many seconds.", ge=0)] = None,
    by: By = By.RELEASE,
) -> dict[str, Any]:
    """How right a model was on the results of which that is known."""
    services: Services = request.app.state.services
    with services.database.read() as connection:
        rows = list_releases(connection, model)
        if not rows:
            raise ApiError(404, "not_found", f"there is no model {model!r}; `fleet model list` shows what there is")
        if version is not None and version not in {row.version for row in rows}:
            known = ", ".join(sorted({row.version for row in rows}))
            raise ApiError(404, "not_found", f"model {model!r} has no version {version!r}, there are {known}")
        start = None if since is None else services.clock() - since
        return measure(connection, Wanted(model=model, version=version, device=device, since=start, by=by))
