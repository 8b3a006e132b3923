"""The demo fleet: brokers, sensors, controller and agents as processes of their own on one machine."""
