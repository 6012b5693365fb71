"""Where the packages the page is made of are, found without importing them."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from talaria_bridge.errors import ConfigError

_SERVER = ("starlette", "uvicorn", "websockets")


def find_charts() -> Path:
    """Return the folder of the ECharts build in the ``nicegui`` package.

    NiceGUI itself is not run: importing it costs 40 MB more than the whole of our server.

    Raises
    ------
    ConfigError
        If it, or what serves it, is not installed.
    """
    missing = [name for name in (*_SERVER, "nicegui") if find_spec(name) is None]
    spec = None if missing else find_spec("nicegui")
    for place in () if spec is None else spec.submodule_search_locations or ():
        folder = Path(place, "elements", "echart", "dist")
        if (folder / "index.js").is_file():
            return folder
    raise ConfigError(
        f"The dashboard cannot be shown because {', '.join(missing) or 'the ECharts of nicegui'} "
        "is not installed: pip install 'talaria[dashboard]'."
    )
