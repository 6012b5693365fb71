"""Entry point of `talaria-train`: says what to install where the training extra is missing."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command, or say in one sentence why it cannot run here."""
    try:
        from talaria_training.commands import main as run  # noqa: PLC0415 (imports torch)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("talaria"):
            raise
        sys.exit(
            f"talaria-train: {error.name} is not installed, because the base install is for the device: "
            "install the training extra with pip install -c constraints.txt -e '.[training]'."
        )
    run()


if __name__ == "__main__":
    main()
