"""Commands: what may be asked of the agent, from the controller over MQTT and locally over the control socket."""
