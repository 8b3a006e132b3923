"""What pipelines publish on the site broker: result messages, CloudEvents, and entities for Home Assistant."""
