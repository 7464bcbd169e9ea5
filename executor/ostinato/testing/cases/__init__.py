"""The cases of the conformance kit, one file for each verb or promise of the seam."""

from __future__ import annotations

from pkgutil import iter_modules

import pytest

# pytest rewrites asserts, so that a failure shows the values compared, in test files only;
# other modules must be named to it before they are imported
pytest.register_assert_rewrite(*(f"{__name__}.{module.name}" for module in iter_modules(__path__)))
