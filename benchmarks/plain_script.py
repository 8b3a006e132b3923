"""What a user would write, and the limit of our MQTT library: `python -m benchmarks.plain_script bare|scored PORT [MODEL]`.

`bare` is one paho client that receives and publishes at QoS 1 and does nothing else: the limit. `scored` is what a user would
write: a callback that parses the JSON, runs ONNX Runtime and publishes the score. Neither keeps anything.
"""

import json
import sys
import threading

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

RECEIVE_MAXIMUM = 100


def main() -> None:
    """Serve until killed."""
    kind, port = sys.argv[1], int(sys.argv[2])
    client = paho.Client(CallbackAPIVersion.VERSION2, client_id="dut-site", protocol=paho.MQTTv5)
    client.max_inflight_messages_set(0)

    if kind == "bare":

        def on_message(_client: paho.Client, _data: object, message: paho.MQTTMessage) -> None:
            client.publish("bench/out", message.payload, qos=1)

    else:
        import numpy as np
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        session = onnxruntime.InferenceSession(sys.argv[3], options, providers=["CPUExecutionProvider"])
        name = session.get_inputs()[0].name
        output = [session.get_outputs()[-1].name]

        def on_message(_client: paho.Client, _data: object, message: paho.MQTTMessage) -> None:
            event = json.loads(message.payload)
            features = np.array([[event["a"], event["b"], event["c"], event["d"]]], dtype=np.float32)
            score = float(session.run(output, {name: features})[0].reshape(-1)[0])
            client.publish("bench/out", json.dumps({"id": event["id"], "time": event["time"], "score": score}), qos=1)

    client.on_message = on_message
    client.on_connect = lambda *_: client.subscribe("bench/in", qos=1)
    properties = Properties(PacketTypes.CONNECT)
    properties.SessionExpiryInterval = 3600
    properties.ReceiveMaximum = RECEIVE_MAXIMUM
    client.connect("127.0.0.1", port, clean_start=False, properties=properties)
    client.loop_start()
    threading.Event().wait()


if __name__ == "__main__":
    main()
