"""One MQTT 5 session per broker over paho-mqtt; nothing above this room sees paho."""
