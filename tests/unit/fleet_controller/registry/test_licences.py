import pytest

from fleet_contract.bundle import BundleError
from fleet_contract.reasons import Reason
from fleet_controller.registry.licences import check_spdx


@pytest.mark.parametrize("expression", ["Apache-2.0", "MIT OR GPL-2.0-only WITH Classpath-exception-2.0", "LicenseRef-own"])
def test_licences_on_the_spdx_list_pass(expression: str) -> None:
    check_spdx(expression)


@pytest.mark.parametrize("expression", ["Apache-9.9", "MIT OR Freeware", "MIT WITH nothing"])
def test_a_word_that_is_not_on_the_list_is_refused(expression: str) -> None:
    with pytest.raises(BundleError) as refused:
        check_spdx(expression)
    assert refused.value.reason is Reason.LICENCE_INVALID
