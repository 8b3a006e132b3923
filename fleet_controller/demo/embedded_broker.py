"""Runs the iotcore broker in this process until it is killed: `python -m fleet_controller.demo.embedded_broker CONFIG.toml`."""

import logging
import sys

from iotcore.iotcore import IotCoreBroker


def main() -> None:
    """Serve. Any log line of its router is an error record for each packet, so only what is critical is let through."""
    logging.basicConfig(level=logging.WARNING)
    logging.getLogger("rumqttd").setLevel(logging.CRITICAL)
    IotCoreBroker(config_path=sys.argv[1]).run_forever()


if __name__ == "__main__":
    main()
